package engine

// only returns the entry of a key that has one row.
func (s *Window[V]) only(ref uint64) listed {
	if ref&refHot != 0 {
		return listed{at: s.hot.at(ref).at, ref: ref}
	}
	return listed{at: s.rows.rowAt(ref).at, ref: ref}
}

// seqOf returns the sequence number of a row.
func (s *Window[V]) seqOf(ref uint64) uint64 {
	if ref&refHot != 0 {
		return s.hot.at(ref).seq
	}
	return s.rows.seqAt(ref)
}

// rowsOf returns the rows of a key. Of a single row there is a list only until the next call.
func (s *Window[V]) rowsOf(key []byte) rowList {
	ref, ok := s.index.find(s.index.hash(key), key)
	switch {
	case !ok:
		return nil
	case ref&refList != 0:
		return s.lists.at(ref)
	}
	s.single[0][0] = s.only(ref)
	return s.single
}

func (s *Window[V]) keyed(key string) []byte {
	s.key = append(s.key[:0], key...)
	return s.key
}

// span returns where the rows of key with from <= time <= to begin and where they end.
func (s *Window[V]) span(key string, from, to int64) (list rowList, first, behind place) {
	list = s.rowsOf(s.keyed(key))
	if from = max(from, s.horizon()); from > to {
		return nil, place{}, place{}
	}
	return list, list.search(s.seqOf, from, 0), list.search(s.seqOf, to+1, 0)
}

// entry returns the entry of a row; ok is false if there is none.
func (s *Window[V]) entry(key []byte, at int64, seq uint64) (e listed, ok bool) {
	list := s.rowsOf(key)
	found := list.at(list.search(s.seqOf, at, seq))
	if found == nil || found.at != at || s.seqOf(found.ref) != seq {
		return listed{}, false
	}
	return *found, true
}

// insert adds a row. Its key is noted where it must be looked at earlier than so far.
func (s *Window[V]) insert(key []byte, e listed, seq uint64) {
	hash := s.index.hash(key)
	ref, ok := s.index.find(hash, key)
	s.size++
	if !ok {
		s.index.set(hash, key, e.ref, false)
		s.note(hash, e.at)
		return
	}
	oldest := s.oldestOf(ref)
	list := ref
	if ref&refList != 0 {
		list = s.lists.insert(ref, e, seq)
	} else {
		list = s.lists.add(s.only(ref), e, seq)
	}
	if list != ref {
		s.index.set(hash, key, list, true)
	}
	if e.at < oldest && s.expiry.sliceOf(e.at) < s.expiry.sliceOf(oldest) {
		s.note(hash, e.at)
	}
}

// take removes a row that is there.
func (s *Window[V]) take(key []byte, at int64, seq uint64) {
	hash := s.index.hash(key)
	ref, _ := s.index.find(hash, key)
	s.size--
	if ref&refList == 0 || !s.lists.take(ref, at, seq) {
		s.removeKey(hash, key, ref)
	}
}

// removeKey forgets a key that has no rows any more.
func (s *Window[V]) removeKey(hash uint64, key []byte, ref uint64) {
	s.index.remove(hash, key)
	if ref&refList != 0 {
		s.lists.remove(ref)
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
	s.lists.point(found, at, seq, ref)
}

// moved takes note of a committed row that has another position.
func (s *Window[V]) moved(r *placed, pos uint64) {
	ref := s.index.known(s.index.hash(r.key), r.key)
	if ref&refList != 0 {
		list := s.lists.at(ref)
		ref = list.at(list.search(s.seqOf, r.at, r.seq)).ref
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
		ref = s.lists.at(ref).newest().ref
	}
	if ref&refHot != 0 {
		return append(dst, s.hot.at(ref).key...)
	}
	return append(dst, s.rows.keyAt(ref)...)
}

// oldestOf returns the time of the oldest row of a key.
func (s *Window[V]) oldestOf(ref uint64) int64 {
	if ref&refList != 0 {
		return s.lists.at(ref).oldest().at
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
	for s.expiry.sliceOf(s.oldestOf(ref)) < keep {
		s.drop(*s.lists.at(ref).oldest())
		s.size--
		if !s.lists.dropOldest(ref) {
			return true
		}
	}
	return false
}
