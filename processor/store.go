package processor

import (
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// KeyValue is a store of one value per key. It belongs to one operator in one task, lives in memory or on disk and survives crashes and
// restarts through the task's journal. Values are encoded as JSON when the task commits; a value in the store must therefore
// not be changed in place: Put it again. Text that is not UTF-8 comes back from a restart with U+FFFD in its place. A value that
// JSON cannot hold (NaN, a channel) is dropped at the commit, and is a failure of the operator: see FailurePolicy.
//
// Only the values that were used lately are kept as they are (in memory a sixteenth of all, 2,048 at least and 131,072 at most); the others
// are bytes, and are decoded when they are asked for: what holds for a restart holds for them. An entry of a store of some twenty thousand or more
// takes less than a hundred bytes over those of its key and its encoding. One that cannot be decoded, since the program's type has changed, ends the task with an error.
type KeyValue[V any] struct {
	s *engine.KeyValue[V]
}

// KeyValueStore makes the store of that name, unique within the operator, on a medium: one at most may be given. It is called in the
// function given to Process, not later.
func KeyValueStore[V, Out any](c *Context[Out], name string, on ...Medium) *KeyValue[V] {
	full := c.declare(name, reflect.TypeFor[V]())
	made := engine.NewKeyValue[V]
	if c.medium(full, on) == OnDisk {
		made = engine.NewOnDisk[V]
	}
	s := &KeyValue[V]{made(c.w.task, full, storeCodec[V]{})}
	exposeKeyValue(c, name, s)
	return s
}

// medium returns where a store is kept.
func (c *Context[Out]) medium(store string, on []Medium) Medium {
	m := c.w.sub.topology.keepState
	if len(on) > 0 && on[0] != 0 {
		m = on[0]
	}
	if c.w.probe != nil {
		if len(on) > 1 || m < 0 || m > OnDisk {
			c.w.probe.mistake(callSite(), "store %s: give it one Medium, InMemory or OnDisk, not %v", store, on)
		}
		c.w.sub.onDisk = c.w.sub.onDisk || m == OnDisk
	}
	return m
}

// ExpiringStore makes a KeyValue store whose values have a time to live: a value is gone once stream time has passed the stream time
// of its last Put by more than ttl. Reading does not keep it alive. Nothing is called when a value goes; where something is to happen
// then, set a timer. Len counts, beside the live values, up to a sixteenth of ttl of those that are gone. A ttl may be changed: values
// that are there are measured by the new one, and those of a store that had none begin to age when the app starts (a store on disk
// is built again from the journal then).
func ExpiringStore[V, Out any](c *Context[Out], name string, ttl time.Duration, on ...Medium) *KeyValue[V] {
	full := c.declare(name, reflect.TypeFor[V]())
	if ttl <= 0 && c.w.probe != nil {
		c.w.probe.mistake(callSite(), "ExpiringStore %s: the time to live must be more than zero, got %v", full, ttl)
	}
	made := engine.NewExpiring[V]
	if c.medium(full, on) == OnDisk {
		made = engine.NewExpiringOnDisk[V]
	}
	s := &KeyValue[V]{made(c.w.task, full, max(int64(ttl), 1), storeCodec[V]{})}
	exposeKeyValue(c, name, s)
	return s
}

// storeCodec is JSON that takes text as it comes: what strangers have sent must not keep a task from committing.
type storeCodec[V any] struct{}

// Encode implements stream.Codec.
func (storeCodec[V]) Encode(v V) (data []byte, err error) {
	defer recoverInto(&err) // the value may encode itself
	return json.Marshal(v, jsontext.AllowInvalidUTF8(true), jsonv1.FormatDurationAsNano(true), jsonv1.OmitEmptyWithLegacySemantics(true))
}

// Decode implements stream.Codec.
func (storeCodec[V]) Decode(data []byte) (v V, err error) {
	defer recoverInto(&err)
	err = json.Unmarshal(data, &v, jsontext.AllowInvalidUTF8(true), jsonv1.FormatDurationAsNano(true))
	return v, err
}

// declare returns the full name of a store and, while Build looks, checks it.
func (c *Context[Out]) declare(name string, values reflect.Type) string {
	full := c.vertex.name + "." + name
	if c.made {
		c.op.task.Stop(fmt.Errorf("%s: store %q is made too late to be restored: make it in the function given to Process, before that returns", c.op.name, name))
	}
	if c.w.probe != nil {
		c.w.probe.store(c.vertex, name, callSite())
		c.w.sub.values[full] = valuesOf(values)
	}
	return full
}

// Get returns the value of key and whether there is one.
func (s *KeyValue[V]) Get(key string) (V, bool) { return s.s.Get(key) }

// Put sets the value of key.
func (s *KeyValue[V]) Put(key string, value V) { s.s.Put(key, value) }

// Delete removes key; it is no error if it is not there.
func (s *KeyValue[V]) Delete(key string) { s.s.Delete(key) }

// Len returns the number of keys.
func (s *KeyValue[V]) Len() int { return s.s.Len() }

// All yields every key and value, in no particular order. The store must not be changed meanwhile.
func (s *KeyValue[V]) All() iter.Seq2[string, V] { return s.s.All() }

// Windowed is a store of rows per key and event time. Rows with the same key and time are all kept, in the order in which they
// came. Rows are dropped once stream time has passed their time by more than the retention. To find a row takes a time that grows
// with the logarithm of the number of rows of its key, also where rows come out of order; dropping one costs the same however
// many there are. What is said of KeyValue holds here too.
//
// On disk, what is not among the rows used lately is read from up to four places, the halves of the retention; the rows of a key side by
// side there, some at once. Where keys come back with later times, as they do as a rule, nothing is read but the first time.
type Windowed[V any] struct {
	s engine.RowStore[V]
}

// WindowStore makes the store of that name, unique within the operator, on a medium: one at most may be given. retention must be more than
// zero; where it is changed, a store on disk is built again from the journal. It is called in the function given to Process, not later.
func WindowStore[V, Out any](c *Context[Out], name string, retention time.Duration, on ...Medium) *Windowed[V] {
	full := c.declare(name, reflect.TypeFor[V]())
	if retention <= 0 && c.w.probe != nil {
		c.w.probe.mistake(callSite(), "WindowStore %s: the retention must be more than zero, got %v", full, retention)
	}
	s := new(Windowed[V])
	if keep := max(int64(retention), 1); c.medium(full, on) == OnDisk {
		s.s = engine.NewDiskWindow(c.w.task, full, keep, storeCodec[V]{})
	} else {
		s.s = engine.NewWindow(c.w.task, full, keep, storeCodec[V]{})
	}
	exposeWindowed(c, name, s, nil)
	return s
}

// RowID names one row of a Windowed store.
type RowID struct {
	Key string
	At  time.Time
	seq uint64
}

func (id RowID) engine() engine.RowID {
	return engine.RowID{Key: id.Key, At: id.At.UnixNano(), Seq: id.seq}
}

func rowID(id engine.RowID) RowID { return RowID{Key: id.Key, At: fromNanos(id.At), seq: id.Seq} }

// Add appends a row; it reports false, and does nothing, if the row is older than the retention allows.
func (s *Windowed[V]) Add(key string, at time.Time, value V) bool {
	return s.s.Add(key, at.UnixNano(), value)
}

// Set replaces the value of a row; it reports whether the row was there.
func (s *Windowed[V]) Set(id RowID, value V) bool { return s.s.Set(id.engine(), value) }

// Remove drops a row; it is no error if it is not there.
func (s *Windowed[V]) Remove(id RowID) { s.s.Remove(id.engine()) }

// Range yields the rows of key with from <= time <= to, by time, then in the order in which they came. Of the store, only
// rows that have been yielded may be changed meanwhile, and only with Set.
func (s *Windowed[V]) Range(key string, from, to time.Time) iter.Seq2[RowID, V] {
	return func(yield func(RowID, V) bool) {
		for id, value := range s.s.Range(key, clampNanos(from), clampNanos(to)) {
			if !yield(rowID(id), value) {
				return
			}
		}
	}
}

// Rows returns the values that Range yields as one slice, which is the caller's; nil if there are none.
func (s *Windowed[V]) Rows(key string, from, to time.Time) []V {
	return s.s.Rows(key, clampNanos(from), clampNanos(to))
}

// Count returns how many rows Range yields; in memory without visiting them.
func (s *Windowed[V]) Count(key string, from, to time.Time) int {
	return s.s.Count(key, clampNanos(from), clampNanos(to))
}

// Last returns the value that Range yields last, without visiting the others; ok is false if there is none.
func (s *Windowed[V]) Last(key string, from, to time.Time) (value V, ok bool) {
	return s.s.Last(key, clampNanos(from), clampNanos(to))
}

// Len returns the number of rows that have not been dropped.
func (s *Windowed[V]) Len() int { return s.s.Len() }

// clampNanos maps bounds before 1970 and after 2262 to those years; no row lies outside.
func clampNanos(t time.Time) int64 {
	if t.Before(minEventTime) {
		return minEventTime.UnixNano()
	}
	if t.After(maxEventTime) {
		return maxEventTime.UnixNano()
	}
	return t.UnixNano()
}
