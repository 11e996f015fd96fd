package join

import (
	"hash/fnv"
	"math"
	"time"

	"github.com/rossby-streams/rossby/processor"
)

// Foreign says how rows of a table refer to rows of another one.
type Foreign[L any] struct {
	// Name is the name of the join, unique in the topology. State is kept under it and under "<name>-right", and its repartition topics
	// are "<app>-<name>-asks" and "<app>-<name>-answers". Required.
	Name string
	// Key returns the key of the row that a left row refers to; "" is none. Required.
	Key func(L) string
	// Keep is where the rows of both sides are kept. Zero: see processor.Builder.KeepState.
	Keep processor.Medium
}

// ForeignKey joins each row of the left table with the row of the right one that it refers to: joiner(l, r) where there is one. The
// result is a table with the left table's keys, kept up to date by updates of either side. An update has the later event time of
// the two rows.
//
// A left row that refers to another row asks for it through a repartition topic and is answered through a second one (as in Kafka
// Streams, KIP-213); until the answer is there the old result stands. The tables may have different numbers of partitions.
func ForeignKey[L, R, V any](left processor.Table[L], right processor.Table[R], f Foreign[L], joiner func(L, R) V) processor.Table[V] {
	if joiner == nil {
		return foreign[L, R, V](left, right, f, nil)
	}
	return foreign(left, right, f, func(l L, r *R) *V {
		if r == nil {
			return nil
		}
		return ptr(joiner(l, *r))
	})
}

// ForeignKeyLeft is ForeignKey for every row of the left table: joiner gets nil where there is no row to refer to.
func ForeignKeyLeft[L, R, V any](left processor.Table[L], right processor.Table[R], f Foreign[L], joiner func(L, *R) V) processor.Table[V] {
	if joiner == nil {
		return foreign[L, R, V](left, right, f, nil)
	}
	return foreign(left, right, f, func(l L, r *R) *V { return ptr(joiner(l, r)) })
}

// ask goes from a left row to the right row that it refers to, or does so no longer.
type ask struct {
	Foreign string `json:"f"`
	Key     string `json:"k"` // of the left row
	Gone    bool   `json:"g,omitzero"`
}

// reply goes back: the right row as it is, nil for none.
type reply[R any] struct {
	Foreign string   `json:"f"`
	Key     string   `json:"k"`
	Right   dated[R] `json:"r"`
}

func foreign[L, R, V any](left processor.Table[L], right processor.Table[R], f Foreign[L], match func(L, *R) *V) processor.Table[V] {
	changes, rows := left.Changes(), right.Updates()
	if !present(changes, rows, "ForeignKey", f.Name) {
		return processor.Table[V]{}
	}
	if match == nil || f.Key == nil {
		report(changes, rows, "ForeignKey %s: the joiner or the Key function is nil", f.Name)
		return processor.Table[V]{}
	}
	asks := processor.FlatMap(processor.MapRecord(changes, func(r processor.Record[processor.Change[L]]) []ask {
		return asksOf(r.Key, r.Value, f.Key)
	}), func(asks []ask) []ask { return asks })
	asked := processor.KeyBy(asks, f.Name+"-asks", func(a ask) string { return a.Foreign })
	answers := processor.Process(both(asked, rows), f.Name+"-right", func(c *processor.Context[reply[R]]) processor.Handler[side[ask, *R]] {
		return processor.Handler[side[ask, *R]]{Record: (&answering[R]{
			c: c, rows: processor.KeyValueStore[dated[R]](c, "rows", f.Keep), asking: newReferrers(c, "referrers", f.Keep),
		}).record}
	})
	answered := processor.KeyBy(answers, f.Name+"-answers", func(a reply[R]) string { return a.Key })
	return processor.TableOf(processor.Process(both(changes, answered), f.Name, func(c *processor.Context[processor.Change[V]]) processor.Handler[side[processor.Change[L], reply[R]]] {
		return processor.Handler[side[processor.Change[L], reply[R]]]{Record: (&referring[L, R, V]{
			c: c, key: f.Key, match: match, rows: processor.KeyValueStore[referrer[L, R, V]](c, "rows", f.Keep),
		}).record}
	}))
}

// asksOf returns what the right side needs to hear of a change.
func asksOf[L any](key string, c processor.Change[L], foreign func(L) string) (asks []ask) {
	was, is := "", ""
	if c.Old != nil {
		was = foreign(*c.Old)
	}
	if c.New != nil {
		is = foreign(*c.New)
	}
	if was == is {
		return nil
	}
	if was != "" {
		asks = append(asks, ask{Foreign: was, Key: key, Gone: true})
	}
	if is != "" {
		asks = append(asks, ask{Foreign: is, Key: key})
	}
	return asks
}

// answering is the right side in one task: it knows who refers to which row.
type answering[R any] struct {
	c      *processor.Context[reply[R]]
	rows   *processor.KeyValue[dated[R]]
	asking referrers
}

func (j *answering[R]) record(rec processor.Record[side[ask, *R]]) error {
	if rec.Key == "" {
		return errNoKey
	}
	if !rec.Value.isRight {
		a := rec.Value.left
		if a.Gone {
			j.asking.remove(rec.Key, a.Key)
			return nil
		}
		j.asking.add(rec.Key, a.Key)
		row, _ := j.rows.Get(rec.Key)
		j.c.Forward(processor.With(rec, reply[R]{Foreign: rec.Key, Key: a.Key, Right: row}))
		return nil
	}
	row := dated[R]{rec.Value.right, rec.Time}
	keep(j.rows, rec.Key, row)
	for _, key := range j.asking.all(rec.Key) {
		j.c.Forward(processor.With(rec, reply[R]{Foreign: rec.Key, Key: key, Right: row}))
	}
	return nil
}

// referrers remembers the left keys that refer to each right key. It is a window store in which a key's place in time is its hash, so
// that one of many is found quickly, and from which nothing ever expires.
type referrers struct {
	rows *processor.Windowed[string]
}

func newReferrers[Out any](c *processor.Context[Out], name string, keep processor.Medium) referrers {
	return referrers{processor.WindowStore[string](c, name, math.MaxInt64, keep)}
}

// place is somewhere between 1970 and 2116.
func place(key string) time.Time {
	h := fnv.New64a()
	h.Write([]byte(key)) // never fails
	return time.Unix(0, int64(h.Sum64()>>2))
}

func (r referrers) add(to, key string) {
	r.remove(to, key)
	r.rows.Add(to, place(key), key)
}

func (r referrers) remove(to, key string) {
	at := place(key)
	for id, k := range r.rows.Range(to, at, at) {
		if k == key {
			r.rows.Remove(id)
			return
		}
	}
}

// all returns the keys that refer to to, in an order that is always the same.
func (r referrers) all(to string) []string {
	return r.rows.Rows(to, time.Unix(0, 0), time.Unix(0, math.MaxInt64))
}

// referring is the left side in one task: it knows the last answer of each row.
type referring[L, R, V any] struct {
	c     *processor.Context[processor.Change[V]]
	key   func(L) string
	match func(L, *R) *V
	rows  *processor.KeyValue[referrer[L, R, V]]
}

// referrer is a left row with what is known of the right one.
type referrer[L, R, V any] struct {
	Left     dated[L] `json:"l"`
	Foreign  string   `json:"f"`
	Right    dated[R] `json:"r"`
	Answered bool     `json:"a"`
	Shown    *V       `json:"s"` // the result that stands
}

// Unwrap implements processor.Wrapped.
func (r referrer[L, R, V]) Unwrap() (value any, at time.Time) { return r.Left.Unwrap() }

func (j *referring[L, R, V]) record(rec processor.Record[side[processor.Change[L], reply[R]]]) error {
	row, known := j.rows.Get(rec.Key)
	if rec.Value.isRight {
		a := rec.Value.right
		if !known || a.Foreign != row.Foreign {
			return nil // it does not refer to that one any more
		}
		row.Right, row.Answered = a.Right, true
		j.show(&rec, row)
		return nil
	}
	left := rec.Value.left.New
	if left == nil {
		j.rows.Delete(rec.Key)
		j.forward(&rec, row, nil)
		return nil
	}
	row.Left = dated[L]{left, rec.Time}
	if to := j.key(*left); !known || to != row.Foreign {
		row.Foreign, row.Right, row.Answered = to, dated[R]{}, to == ""
	}
	if !row.Answered {
		j.rows.Put(rec.Key, row)
		return nil
	}
	j.show(&rec, row)
	return nil
}

// show lets the result be what the row and its answer give.
func (j *referring[L, R, V]) show(rec *processor.Record[side[processor.Change[L], reply[R]]], row referrer[L, R, V]) {
	is := j.match(*row.Left.Value, row.Right.Value)
	j.forward(rec, row, is)
	row.Shown = is
	j.rows.Put(rec.Key, row)
}

func (j *referring[L, R, V]) forward(rec *processor.Record[side[processor.Change[L], reply[R]]], row referrer[L, R, V], is *V) {
	if row.Shown == nil && is == nil {
		return
	}
	out := processor.With(*rec, processor.Change[V]{Old: row.Shown, New: is})
	out.Time = later(later(rec.Time, row.Left.At), row.Right.At)
	j.c.Forward(out)
}
