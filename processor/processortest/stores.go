package processortest

import (
	"errors"
	"fmt"
	"math"

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
		s, is := t.engine.Store(operator + "." + store).(*engine.Window[V])
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
