package engine

import (
	"iter"
	"slices"
	"sort"

	"github.com/rossby-streams/rossby/stream"
)

// Window is a store of rows per key, ordered by event time. Rows of one key and time are kept side by side in the order in
// which they came. A row is dropped when stream time has passed its time by more than the retention.
type Window[V any] struct {
	name      string
	task      *Task
	retention int64
	keys      map[string]*rowList[V]
	led       ledger[V]
	seq       uint64
	now       int64
	size      int
	expiry    expiry
	log       []rowChange[V]
}

// rowList holds the rows of one key in order of (at, seq). Rows before first have been dropped.
type rowList[V any] struct {
	rows  []*row[V]
	first int
	// values are the values of rows[first:], side by side, once somebody has asked for them (Rows). They are only ever
	// appended to, so that slices handed out stay as they were; any other change forgets them.
	values []V
}

// NewWindow returns an empty store and registers it with t under name. retention is in nanoseconds, at least 1.
func NewWindow[V any](t *Task, name string, retention int64, codec stream.Codec[V]) *Window[V] {
	s := &Window[V]{
		name: name, task: t, retention: retention, now: NoTime,
		keys:   make(map[string]*rowList[V]),
		led:    ledger[V]{codec: codec},
		expiry: newExpiry(retention),
	}
	t.addStore(s)
	return s
}

// RowID names one row of a window store.
type RowID struct {
	Key string
	At  int64
	Seq uint64
}

// Add appends a row, unless it is older than the retention allows; it reports whether it did.
func (s *Window[V]) Add(key string, at int64, value V) bool {
	if s.expired(at) {
		return false
	}
	s.seq++
	r := &row[V]{key: key, at: at, seq: s.seq, value: value}
	s.remember(r, true)
	s.insert(r)
	s.led.touch(r)
	return true
}

// Set replaces the value of a row; it reports whether the row is there.
func (s *Window[V]) Set(id RowID, value V) bool {
	r := s.find(id)
	if r == nil {
		return false
	}
	s.remember(r, false)
	r.value = value
	s.keys[id.Key].values = nil
	s.led.touch(r)
	return true
}

// Remove deletes a row; it is no error if it is not there.
func (s *Window[V]) Remove(id RowID) {
	r := s.find(id)
	if r == nil {
		return
	}
	s.remember(r, false)
	var none V
	r.value, r.dead = none, true
	list := s.keys[id.Key]
	s.take(list, list.search(r.at, r.seq))
	s.led.touch(r)
}

func (s *Window[V]) remember(r *row[V], created bool) {
	s.log = append(s.log, before(r, created))
	s.task.note(s)
}

func (s *Window[V]) undo() {
	c := popLast(&s.log)
	r := c.row
	switch {
	case c.created:
		list := s.keys[r.key]
		s.take(list, list.search(r.at, r.seq))
		s.seq--
	case r.dead && !c.dead:
		s.insert(r)
	}
	s.led.putBack(c)
	if list := s.keys[r.key]; list != nil {
		list.values = nil
	}
}

func (s *Window[V]) forget() { s.log = forgetAll(s.log) }

// Range yields the rows of key with from <= time <= to, in order of time, then of arrival. The store must not be changed
// meanwhile, but for Set on a row that has been yielded.
func (s *Window[V]) Range(key string, from, to int64) iter.Seq2[RowID, V] {
	return func(yield func(RowID, V) bool) {
		list, ok := s.keys[key]
		if !ok {
			return
		}
		from = max(from, s.horizon())
		for i := list.search(from, 0); i < len(list.rows) && list.rows[i].at <= to; i++ {
			r := list.rows[i]
			if !yield(RowID{Key: r.key, At: r.at, Seq: r.seq}, r.value) {
				return
			}
		}
	}
}

// Rows returns the values that Range yields as one slice, without copying them: it costs O(log n). The slice stays valid
// and unchanged; the caller must not change its elements.
func (s *Window[V]) Rows(key string, from, to int64) []V {
	list, ok := s.keys[key]
	if !ok {
		return nil
	}
	if list.values == nil {
		list.values = make([]V, 0, len(list.rows)-list.first+1)
		for _, r := range list.rows[list.first:] {
			list.values = append(list.values, r.value)
		}
	}
	i := list.search(max(from, s.horizon()), 0) - list.first
	j := len(list.values)
	if n := len(list.rows); list.rows[n-1].at > to {
		j = list.search(to+1, 0) - list.first
	}
	if i >= j {
		return nil
	}
	return list.values[i:j:j]
}

// Len returns the number of rows that have not been dropped yet.
func (s *Window[V]) Len() int { return s.size }

// Name returns the name of the store.
func (s *Window[V]) Name() string { return s.name }

// horizon is the lowest time that is still kept.
func (s *Window[V]) horizon() int64 { return horizon(s.now, s.retention) }

func (s *Window[V]) expired(at int64) bool { return at < s.horizon() }

func (s *Window[V]) find(id RowID) *row[V] {
	list, ok := s.keys[id.Key]
	if !ok {
		return nil
	}
	if i := list.search(id.At, id.Seq); i < len(list.rows) && list.rows[i].at == id.At && list.rows[i].seq == id.Seq {
		return list.rows[i]
	}
	return nil
}

// search returns the index of the first row at or after (at, seq).
func (l *rowList[V]) search(at int64, seq uint64) int {
	n := len(l.rows)
	if n > l.first && l.rows[n-1].before(at, seq) { // the common case: in order
		return n
	}
	return l.first + sort.Search(n-l.first, func(i int) bool { return !l.rows[l.first+i].before(at, seq) })
}

func (r *row[V]) before(at int64, seq uint64) bool { return r.at < at || r.at == at && r.seq < seq }

func (s *Window[V]) insert(r *row[V]) {
	list, ok := s.keys[r.key]
	if !ok {
		list = &rowList[V]{}
		s.keys[r.key] = list
	}
	if i := list.search(r.at, r.seq); i == len(list.rows) {
		list.rows = append(list.rows, r)
		if list.values != nil {
			list.values = append(list.values, r.value)
		}
	} else {
		list.rows = slices.Insert(list.rows, i, r)
		list.values = nil
	}
	s.size++
	s.expiry.note(r.key, r.at)
}

// advance drops what stream time has left behind. Whole slices of time are dropped at once; Range hides the rest.
func (s *Window[V]) advance(now int64) {
	s.now = now
	horizon := s.horizon()
	for key := range s.expiry.before(horizon) {
		s.drop(key, horizon)
	}
}

func (s *Window[V]) drop(key string, horizon int64) {
	list, ok := s.keys[key]
	if !ok {
		return
	}
	for list.first < len(list.rows) && list.rows[list.first].at < horizon {
		s.led.expire(list.rows[list.first])
		list.rows[list.first] = nil
		list.first++
		s.size--
		if list.values != nil {
			list.values = list.values[1:]
		}
	}
	if list.first > len(list.rows)/2 { // reclaim the dead half; amortised O(1)
		list.rows = slices.Delete(list.rows, 0, list.first)
		list.first = 0
	}
	s.dropIfEmpty(key, list)
}

func (s *Window[V]) dropIfEmpty(key string, list *rowList[V]) {
	if list.first == len(list.rows) {
		delete(s.keys, key)
	}
}

func (s *Window[V]) flush(dst []byte, number uint64, refused func(error)) []byte {
	return s.led.flush(dst, number, s.dropDead, refused)
}

// dropDead takes a row out that is dead, if it is in still.
func (s *Window[V]) dropDead(r *row[V]) {
	list, ok := s.keys[r.key]
	if !ok {
		return
	}
	if i := list.search(r.at, r.seq); i < len(list.rows) && list.rows[i] == r {
		s.take(list, i)
	}
}

// take removes the row at i of a list.
func (s *Window[V]) take(list *rowList[V], i int) {
	key := list.rows[i].key
	list.rows = slices.Delete(list.rows, i, i+1)
	list.values = nil
	s.size--
	s.dropIfEmpty(key, list)
}

func (s *Window[V]) restore(d *decoder, number uint64) error {
	c, err := s.led.decode(d)
	if err != nil {
		return err
	}
	s.seq = max(s.seq, c.seq)
	r := s.find(RowID{Key: c.key, At: c.at, Seq: c.seq})
	if c.deleted {
		if r != nil {
			s.led.unlink(r)
			s.Remove(RowID{Key: c.key, At: c.at, Seq: c.seq})
		}
		return nil
	}
	if r == nil {
		r = &row[V]{key: c.key, at: c.at, seq: c.seq}
		s.insert(r)
	}
	r.value = c.value
	s.keys[c.key].values = nil
	s.led.link(r, number, c.size)
	return nil
}

// restored drops what had expired already. The deletions met on the way have left rows marked for the next commit that
// have no home: flush writes nothing for them.
func (s *Window[V]) restored(now int64) {
	if now == NoTime {
		return
	}
	s.now = now
	horizon := s.horizon()
	for key := range s.keys {
		s.drop(key, horizon)
	}
	s.advance(now)
	clear(s.led.dirty)
	s.led.dirty = s.led.dirty[:0]
}

func (s *Window[V]) oldest() uint64           { return s.led.oldest() }
func (s *Window[V]) rideAlong(budget int) int { return s.led.rideAlong(budget) }
func (s *Window[V]) liveBytes() int           { return s.led.live }
func (s *Window[V]) isDirty() bool            { return len(s.led.dirty) > 0 }
