package processortest

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// ErrStore says that there is no such store, or that it has another type.
var ErrStore = errors.New("no such store")

// StoreValue looks into a key-value store: operator and store as named in the topology. ok is false if the key has no value.
func StoreValue[V any](d *Driver, operator, store, key string) (value V, ok bool, err error) {
	found := false
	for _, t := range d.tasks {
		s, is := t.engine.Store(operator + "." + store).(*engine.KeyValue[V])
		if !is {
			continue
		}
		found = true
		if value, ok = s.Get(key); ok {
			return value, true, nil
		}
	}
	if !found {
		return value, false, fmt.Errorf("%w: %s of operator %s", ErrStore, store, operator)
	}
	return value, false, nil
}

// StoreRows looks into a window store: the values of a key, by time, then in the order in which they came. It is empty if there are
// none.
func StoreRows[V any](d *Driver, operator, store, key string) (values []V, err error) {
	found := false
	for _, t := range d.tasks {
		s, is := t.engine.Store(operator + "." + store).(engine.RowStore[V])
		if !is {
			continue
		}
		found = true
		values = append(values, s.Rows(key, math.MinInt64, math.MaxInt64-1)...)
	}
	if !found {
		return nil, fmt.Errorf("%w: %s of operator %s", ErrStore, store, operator)
	}
	return values, nil
}

// StoreSessions looks into a store of sessions: the sessions of a key, by their ends. A session's time is its end.
func StoreSessions[V any](d *Driver, operator, store, key string) (sessions []processor.Record[V], err error) {
	found := false
	for _, t := range d.tasks {
		s, is := t.engine.Store(operator + "." + store).(engine.RowStore[engine.SessionRow[V]])
		if !is {
			continue
		}
		found = true
		for id, row := range s.Range(key, math.MinInt64, math.MaxInt64-1) {
			end := time.Unix(0, id.At).UTC()
			w := processor.Window{Start: time.Unix(0, row.Start).UTC(), End: end}
			sessions = append(sessions, processor.Record[V]{Key: key, Value: row.Value, Time: end, Window: w})
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: %s of operator %s", ErrStore, store, operator)
	}
	return sessions, nil
}

// StoreVersions looks into a versioned store: the values of a key that it remembers, the latest last; deletions are nil. A version's time
// is that from which it counts.
func StoreVersions[V any](d *Driver, operator, store, key string) (versions []processor.Record[*V], err error) {
	found := false
	add := func(v engine.Version[V]) {
		r := processor.Record[*V]{Key: key, Time: time.Unix(0, v.From).UTC()}
		if !v.Dead {
			r.Value = &v.Value
		}
		versions = append(versions, r)
	}
	for _, t := range d.tasks {
		current, is := t.engine.Store(operator + "." + store).(*engine.KeyValue[engine.Version[V]])
		if !is {
			continue
		}
		found = true
		past, _ := t.engine.Store(operator + "." + store + "-past").(engine.RowStore[engine.Version[V]])
		for _, v := range past.Range(key, math.MinInt64, math.MaxInt64-1) {
			add(v)
		}
		if v, ok := current.Get(key); ok {
			add(v)
		}
		deleted, _ := t.engine.Store(operator + "." + store + "-deleted").(engine.RowStore[bool])
		for id := range deleted.Range(key, math.MinInt64, math.MaxInt64-1) {
			add(engine.Version[V]{From: id.At, Dead: true})
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: %s of operator %s", ErrStore, store, operator)
	}
	return versions, nil
}
