package engine

// slots is a table whose items are known by their places. Places of items that are gone are used again.
type slots[T any] struct {
	items []T
	free  []uint32
}

func (s *slots[T]) add(item T) uint32 {
	if n := len(s.free); n > 0 {
		place := s.free[n-1]
		s.free = s.free[:n-1]
		s.items[place] = item
		return place
	}
	s.items = append(s.items, item)
	return uint32(len(s.items) - 1)
}

func (s *slots[T]) remove(place uint32) {
	var none T
	s.items[place] = none
	s.free = append(s.free, place)
}

// len is how many items there are.
func (s *slots[T]) len() int { return len(s.items) - len(s.free) }
