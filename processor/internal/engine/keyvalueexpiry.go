package engine

// note says when a row of the base is to be looked at. When there are too many notes, of keys that have come and gone, all are made
// anew.
func (s *KeyValue[V]) note(key []byte, at int64) {
	b, inMemory := s.base.(*memoryBase)
	if s.ttl == 0 || !inMemory {
		return
	}
	s.expiry.note(b.index.hash(key), at)
	if s.expiry.isCrowded(b.len()) {
		s.expiry.reset()
		for key, row := range b.all() {
			s.expiry.note(b.index.hash(key), row.at)
		}
	}
}

// beginToAge lets the values that were put before the store had a ttl live from now on. All of them are in memory until the next commit.
func (s *KeyValue[V]) beginToAge() {
	var keys []string
	for key, row := range s.base.all() {
		if row.at == 0 {
			keys = append(keys, string(key))
		}
	}
	for _, key := range keys {
		if e := s.find(key); e != nil {
			s.tally(e, -1)
			e.at = s.now
			s.tally(e, 1)
			s.touch(e)
			s.note([]byte(key), s.now)
		}
	}
	s.ageless = false
}

// advance drops what has expired: whole slices of time at once, Get hides the rest. The journal is not told: whoever restores sees it
// from the stream time.
func (s *KeyValue[V]) advance(now int64) {
	s.now = now
	if s.ttl == 0 || horizon(now, s.ttl) == NoTime {
		return
	}
	if s.disk != nil {
		s.disk.advance(horizon(now, s.ttl))
		return
	}
	keep := s.expiry.sliceOf(horizon(now, s.ttl))
	for e := range s.young.before(keep) {
		s.expireYoung(e, keep)
	}
	b := s.base.(*memoryBase) //nolint:forcetypeassert // it is not on disk
	for hash := range s.expiry.before(keep) {
		s.expire(b, hash, keep)
	}
	b.reclaim()
}

// expireYoung drops a row that no commit has, unless it has been put again meanwhile.
func (s *KeyValue[V]) expireYoung(e *entry[V], keep int64) {
	switch {
	case e.dead:
	case s.expiry.sliceOf(e.at) >= keep:
		s.young.note(e, e.at)
	default:
		e.dead = true
		s.count--
		delete(s.hot, e.key)
	}
}

// expire drops the committed rows of the keys with a hash (of one, nearly always) that are over.
func (s *KeyValue[V]) expire(b *memoryBase, hash uint64, keep int64) {
	s.due = s.due[:0]
	for pos := range b.index.of(hash) {
		s.due = append(s.due, pos)
	}
	for _, pos := range s.due {
		row := b.rowAt(pos)
		e, hot := s.hot[string(row.key)]
		switch {
		case hot && e.dead: // its end is not committed yet, and may not come
			s.expiry.note(hash, s.now)
			continue
		case hot:
			row.at = e.at
		}
		if s.expiry.sliceOf(row.at) >= keep {
			s.expiry.note(hash, row.at)
			continue
		}
		if s.task.disk != nil {
			s.task.gone(s, string(row.key), 0, 0)
		}
		b.index.remove(hash, row.key)
		b.drop(pos)
		s.count--
		if hot {
			s.weight -= int(e.size)
			e.dead, e.size = true, 0
			delete(s.hot, e.key)
		}
	}
}
