package engine

// list returns the list of a ref.
func (s *Window[V]) list(ref uint64) *rowList { return s.lists[uint32(ref)] }

// only returns the entry of a key that has one row.
func (s *Window[V]) only(ref uint64) listed {
	if ref&refHot != 0 {
		r := s.hot.at(ref)
		return listed{at: r.at, seq: r.seq, ref: ref}
	}
	row := s.rows.rowAt(ref)
	return listed{at: row.at, seq: row.seq, ref: ref}
}

// rowsOf returns the rows of a key, nil if there are none. Of a single row there is a list only until the next call.
func (s *Window[V]) rowsOf(key []byte) *rowList {
	ref, ok := s.index.find(s.index.hash(key), key)
	switch {
	case !ok:
		return nil
	case ref&refList != 0:
		return s.list(ref)
	}
	return s.singleOf(ref)
}

// singleOf returns the list of a single row, until the next call.
func (s *Window[V]) singleOf(ref uint64) *rowList {
	if s.single.empty() {
		s.single.insert(listed{})
	}
	*s.single.oldest() = s.only(ref)
	return &s.single
}

func (s *Window[V]) keyed(key string) []byte {
	s.key = append(s.key[:0], key...)
	return s.key
}

// span returns where the rows of key with from <= time <= to begin and where they end.
func (s *Window[V]) span(key string, from, to int64) (list *rowList, first, behind place) {
	list = s.rowsOf(s.keyed(key))
	if from = max(from, s.horizon()); list == nil || from > to {
		return nil, place{}, place{}
	}
	return list, list.search(from, 0), list.search(to+1, 0)
}

// entry returns the entry of a row, nil if there is none.
func (s *Window[V]) entry(key []byte, at int64, seq uint64) *listed {
	ref, ok := s.index.find(s.index.hash(key), key)
	if !ok {
		return nil
	}
	return s.entryOf(ref, at, seq)
}

// entryOf is entry for a key that has been found.
func (s *Window[V]) entryOf(ref uint64, at int64, seq uint64) (e *listed) {
	if ref&refList != 0 {
		list := s.list(ref)
		e = list.at(list.search(at, seq))
	} else {
		e = s.singleOf(ref).oldest()
	}
	if e != nil && e.at == at && e.seq == seq {
		return e
	}
	return nil
}

// insert adds a row. Its key is noted where it must be looked at earlier than so far.
func (s *Window[V]) insert(key []byte, e listed) {
	hash := s.index.hash(key)
	ref, ok := s.index.find(hash, key)
	s.size++
	if !ok {
		s.index.set(hash, key, e.ref, false)
		s.note(hash, e.at)
		return
	}
	var list *rowList
	if ref&refList != 0 {
		list = s.list(ref)
	} else {
		list = s.newList(hash, key)
		list.insert(s.only(ref))
	}
	oldest := list.oldest().at
	list.insert(e)
	if e.at < oldest && s.expiry.sliceOf(e.at) < s.expiry.sliceOf(oldest) {
		s.note(hash, e.at)
	}
}

// newList gives a key that has one row a list.
func (s *Window[V]) newList(hash uint64, key []byte) *rowList {
	list := &rowList{}
	var place uint32
	if n := len(s.free); n > 0 {
		place = s.free[n-1]
		s.free = s.free[:n-1]
		s.lists[place] = list
	} else {
		place = uint32(len(s.lists))
		s.lists = append(s.lists, list)
	}
	s.index.set(hash, key, refList|uint64(place), true)
	return list
}

// take removes a row that is there.
func (s *Window[V]) take(key []byte, at int64, seq uint64) {
	hash := s.index.hash(key)
	ref, _ := s.index.find(hash, key)
	s.size--
	if ref&refList != 0 {
		list := s.list(ref)
		if list.take(list.search(at, seq)); !list.empty() {
			return
		}
	}
	s.removeKey(hash, key, ref)
}

// removeKey forgets a key that has no rows any more.
func (s *Window[V]) removeKey(hash uint64, key []byte, ref uint64) {
	s.index.remove(hash, key)
	if ref&refList != 0 {
		s.lists[uint32(ref)] = nil
		s.free = append(s.free, uint32(ref))
	}
}

// point lets the index lead to a row by another ref.
func (s *Window[V]) point(key []byte, at int64, seq, ref uint64) {
	hash := s.index.hash(key)
	found := s.index.known(hash, key)
	if found&refList == 0 {
		s.index.set(hash, key, ref, true)
		return
	}
	list := s.list(found)
	list.at(list.search(at, seq)).ref = ref
}

// moved takes note of a committed row that has another position.
func (s *Window[V]) moved(r *placed, pos uint64) {
	hash := s.index.hash(r.key)
	ref := s.index.known(hash, r.key)
	if ref&refList != 0 {
		list := s.list(ref)
		ref = list.at(list.search(r.at, r.seq)).ref
	}
	if ref&refHot != 0 {
		s.hot.at(ref).pos = pos
	} else {
		s.point(r.key, r.at, r.seq, pos)
	}
}

// keyOf returns the key of what the index knows.
func (s *Window[V]) keyOf(dst []byte, ref uint64) []byte {
	if ref&refList != 0 {
		ref = s.list(ref).newest().ref
	}
	if ref&refHot != 0 {
		return append(dst, s.hot.at(ref).key...)
	}
	return append(dst, s.rows.keyAt(ref)...)
}

// oldestOf returns the time of the oldest row of a key.
func (s *Window[V]) oldestOf(ref uint64) int64 {
	if ref&refList != 0 {
		return s.list(ref).oldest().at
	}
	return s.only(ref).at
}

// note says when a key is to be looked at. When there are too many notes, of keys that have come and gone, all are made anew.
func (s *Window[V]) note(hash uint64, at int64) {
	if !s.expiry.isCrowded(s.index.len()) {
		s.expiry.note(hash, at)
		return
	}
	s.expiry.reset()
	for hash, ref := range s.index.all() {
		s.expiry.note(hash, s.oldestOf(ref))
	}
}

// expire drops the rows that lie in slices before keep, of the keys with a hash: of one, nearly always.
func (s *Window[V]) expire(hash uint64, keep int64) {
	s.expiring = s.expiring[:0]
	for ref := range s.index.of(hash) {
		s.expiring = append(s.expiring, ref)
	}
	for _, ref := range s.expiring {
		s.key = s.keyOf(s.key[:0], ref)
		if !s.dropBefore(ref, keep) {
			s.expiry.note(hash, s.oldestOf(ref))
			continue
		}
		s.removeKey(hash, s.key, ref)
	}
}

// dropBefore drops the rows of a key that lie in slices before keep, and reports whether these were all.
func (s *Window[V]) dropBefore(ref uint64, keep int64) (all bool) {
	if ref&refList == 0 {
		e := s.only(ref)
		if all = s.expiry.sliceOf(e.at) < keep; all {
			s.drop(e)
			s.size--
		}
		return all
	}
	list := s.list(ref)
	for !list.empty() && s.expiry.sliceOf(list.oldest().at) < keep {
		s.drop(*list.oldest())
		list.dropOldest()
		s.size--
	}
	return list.empty()
}
