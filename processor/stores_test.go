package processor_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// order is what a test tells an operator to do with its store.
type order struct {
	Do         string
	Start, End int // seconds
	Value      int
	At         time.Time
}

var (
	orders  = stream.Topic[order]{Name: "orders", Time: func(o order) time.Time { return o.At }}
	answers = stream.Topic[string]{Name: "answers"}
)

// storeDriver runs an operator that answers each order.
func storeDriver(t testing.TB, prepare func(c *processor.Context[string]) func(key string, o order) string) *processortest.Driver {
	b := processor.NewBuilder("stores")
	processor.Process(processor.From(b, orders), "op", func(c *processor.Context[string]) processor.Handler[order] {
		do := prepare(c)
		return processor.Handler[order]{Record: func(r processor.Record[order]) error {
			c.Forward(processor.With(r, do(r.Key, r.Value)))
			return nil
		}}
	}).To(answers)
	topology, err := b.Build()
	require.NoError(t, err)
	return processortest.New(t, topology)
}

func ask(d *processortest.Driver, key string, o order) string {
	processortest.Pipe(d, orders, processor.Record[order]{Key: key, Value: o})
	got := processortest.Read(d, answers)
	if len(got) != 1 {
		return fmt.Sprintf("%d answers", len(got))
	}
	return got[0].Value
}

// TestSessionStoreIsWhatItSays compares the store of sessions with a slice, over random orders and crashes.
func TestSessionStoreIsWhatItSays(t *testing.T) {
	const retention = 50
	type kept struct{ start, end, value int }
	rapid.Check(t, func(rt *rapid.T) {
		d := storeDriver(t, func(c *processor.Context[string]) func(string, order) string {
			sessions := processor.SessionStore[int](c, "sessions", retention*time.Second)
			return func(key string, o order) string {
				switch o.Do {
				case "put":
					return fmt.Sprint(sessions.Put(key, at(o.Start), at(o.End), o.Value))
				case "remove":
					sessions.Remove(key, at(o.Start), at(o.End))
					return ""
				case "get":
					v, ok := sessions.Get(key, at(o.Start), at(o.End))
					return fmt.Sprint(v, ok)
				}
				var found []string
				for w, v := range sessions.Find(key, at(o.Start), at(o.End)) {
					found = append(found, fmt.Sprint(w.Start.Sub(at(0)).Seconds(), w.End.Sub(at(0)).Seconds(), v))
				}
				return strings.Join(found, ",")
			}
		})
		model := map[string][]kept{}
		now := 100
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key")
			start := now + rapid.IntRange(-80, 20).Draw(rt, "start")
			end := start + rapid.IntRange(0, 5).Draw(rt, "length")
			o := order{Start: start, End: end, Value: rapid.IntRange(1, 9).Draw(rt, "value"), At: at(now)}
			same := func(k kept) bool { return k.start == start && k.end == end }
			alive := func(k kept) bool { return k.end >= now-retention }
			i := slices.IndexFunc(model[key], same)
			switch rapid.IntRange(0, 5).Draw(rt, "do") {
			case 0, 1:
				o.Do = "put"
				overlaps := slices.ContainsFunc(model[key], func(k kept) bool { return !same(k) && k.start <= end && start <= k.end })
				if overlaps {
					continue
				}
				want := end >= now-retention
				require.Equal(rt, fmt.Sprint(want), ask(d, key, o))
				switch {
				case want && i >= 0:
					model[key][i].value = o.Value
				case want:
					model[key] = append(model[key], kept{start, end, o.Value})
				}
			case 2:
				o.Do = "remove"
				require.Empty(rt, ask(d, key, o))
				model[key] = slices.DeleteFunc(model[key], same)
			case 3:
				o.Do = "get"
				want := "0 false"
				if i >= 0 && alive(model[key][i]) {
					want = fmt.Sprint(model[key][i].value, true)
				}
				require.Equal(rt, want, ask(d, key, o))
			case 4:
				o.Do = "find"
				slices.SortFunc(model[key], func(a, b kept) int { return a.end - b.end })
				var want []string
				for _, k := range model[key] {
					if alive(k) && k.end >= start && k.start <= end {
						want = append(want, fmt.Sprint(float64(k.start), float64(k.end), k.value))
					}
				}
				require.Equal(rt, strings.Join(want, ","), ask(d, key, o))
			case 5:
				d.Crash()
				now += rapid.IntRange(0, 30).Draw(rt, "by")
			}
		}
	})
}

func TestExpiringStore(t *testing.T) {
	d := storeDriver(t, func(c *processor.Context[string]) func(string, order) string {
		store := processor.ExpiringStore[int](c, "seen", time.Minute)
		return func(key string, o order) string {
			if o.Do == "put" {
				store.Put(key, o.Value)
			}
			v, ok := store.Get(key)
			return fmt.Sprint(v, ok)
		}
	})
	require.Equal(t, "1 true", ask(d, "a", order{Do: "put", Value: 1, At: at(0)}))
	require.Equal(t, "1 true", ask(d, "a", order{At: at(60)}), "a minute old is not older than a minute")
	d.Crash()
	require.Equal(t, "1 true", ask(d, "a", order{At: at(30)}), "stream time does not go back")
	require.Equal(t, "0 false", ask(d, "a", order{At: at(61)}), "reading does not keep it alive")
	d.Crash()
	require.Equal(t, "0 false", ask(d, "a", order{At: at(61)}))
	require.Equal(t, "2 true", ask(d, "a", order{Do: "put", Value: 2, At: at(0)}), "it lives from stream time on, not from the record's time")
	require.Equal(t, "2 true", ask(d, "a", order{At: at(121)}))
	require.Equal(t, "0 false", ask(d, "a", order{At: at(122)}))
}

func TestStoresAskForADuration(t *testing.T) {
	b := processor.NewBuilder("stores")
	processor.Process(processor.From(b, orders), "op", func(c *processor.Context[string]) processor.Handler[order] {
		processor.ExpiringStore[int](c, "expiring", 0)
		processor.SessionStore[int](c, "sessions", -time.Second)
		processor.VersionedStore[int](c, "versions", 0)
		return processor.Handler[order]{Record: func(processor.Record[order]) error { return nil }}
	}).To(answers)
	_, err := b.Build()
	require.ErrorContains(t, err, "stores_test.go")
	require.ErrorContains(t, err, "VersionedStore op.versions: the retention must be more than zero, got 0s")
	require.ErrorContains(t, err, "ExpiringStore op.expiring: the time to live must be more than zero, got 0s")
	require.ErrorContains(t, err, "WindowStore op.sessions: the retention must be more than zero, got -1s")
}

// TestVersionedStoreIsWhatItSays compares the versioned store with all that was ever put, over random orders and crashes.
func TestVersionedStoreIsWhatItSays(t *testing.T) {
	const retention = 40
	rapid.Check(t, func(rt *rapid.T) {
		d := storeDriver(t, func(c *processor.Context[string]) func(string, order) string {
			store := processor.VersionedStore[int](c, "positions", retention*time.Second)
			said := func(v int, from time.Time, ok bool) string {
				if !ok {
					return "nothing"
				}
				return fmt.Sprint(v, " since ", from.Sub(at(0)).Seconds())
			}
			return func(key string, o order) string {
				switch o.Do {
				case "put":
					return fmt.Sprint(store.Put(key, at(o.Start), o.Value))
				case "delete":
					return fmt.Sprint(store.Delete(key, at(o.Start)))
				case "get":
					return said(store.Get(key))
				}
				return said(store.GetAsOf(key, at(o.Start)))
			}
		})
		type put struct{ value, from int } // value 0: deleted
		model := map[string][]put{}        // in order of from
		asOf := func(key string, when int) string {
			said := "nothing"
			for _, p := range model[key] {
				if p.from > when {
					break
				}
				if said = "nothing"; p.value > 0 {
					said = fmt.Sprint(p.value, " since ", float64(p.from))
				}
			}
			return said
		}
		now := 100
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key")
			o := order{Start: now + rapid.IntRange(-60, 15).Draw(rt, "start"), At: at(now)}
			remembered := o.Start >= now-retention
			do := rapid.SampledFrom([]string{"put", "put", "delete", "get", "as of", "as of", "crash", "later"}).Draw(rt, "do")
			switch o.Do = do; do {
			case "put", "delete":
				if do == "put" {
					o.Value = rapid.IntRange(1, 9).Draw(rt, "value")
				}
				latest := remembered && !slices.ContainsFunc(model[key], func(p put) bool { return p.from > o.Start })
				require.Equal(rt, fmt.Sprint(remembered, latest), ask(d, key, o))
				if remembered {
					model[key] = slices.DeleteFunc(model[key], func(p put) bool { return p.from == o.Start })
					model[key] = append(model[key], put{o.Value, o.Start})
					slices.SortFunc(model[key], func(a, b put) int { return a.from - b.from })
				}
			case "get":
				require.Equal(rt, asOf(key, 1_000_000), ask(d, key, o))
			case "as of":
				want := "nothing"
				if remembered {
					want = asOf(key, o.Start)
				}
				require.Equal(rt, want, ask(d, key, o), "as of %d at %d", o.Start, now)
			case "crash":
				d.Crash()
			case "later":
				now += rapid.IntRange(0, 30).Draw(rt, "by")
			}
		}
	})
}

// TestVersionedStoreForgets: only what counts, and what counted within the retention, stays in memory.
func TestVersionedStoreForgets(t *testing.T) {
	d := storeDriver(t, func(c *processor.Context[string]) func(string, order) string {
		store := processor.VersionedStore[int](c, "positions", time.Minute)
		return func(key string, o order) string {
			if o.Value == 0 {
				store.Delete(key, o.At)
			} else {
				store.Put(key, o.At, o.Value)
			}
			return fmt.Sprint(store.Len())
		}
	})
	most := ""
	for i := range 5000 {
		most = ask(d, fmt.Sprintf("k%d", i%500), order{Value: i % 7, At: at(i)})
	}
	n, err := strconv.Atoi(most)
	require.NoError(t, err)
	require.LessOrEqual(t, n, 500+2*(60+60/16+2), "500 values that count, and a minute of history")
}

func TestLookingIntoStores(t *testing.T) {
	d := storeDriver(t, func(c *processor.Context[string]) func(string, order) string {
		sessions := processor.SessionStore[int](c, "sessions", time.Hour)
		versions := processor.VersionedStore[int](c, "versions", time.Hour)
		return func(key string, o order) string {
			sessions.Put(key, at(o.Start), at(o.End), o.Value)
			if o.Value == 3 {
				versions.Delete(key, o.At)
			} else {
				versions.Put(key, o.At, o.Value)
			}
			return ""
		}
	})
	for i := range 3 {
		ask(d, "a", order{Start: 10 * i, End: 10*i + 5, Value: i + 1, At: at(i)})
	}
	sessions, err := processortest.StoreSessions[int](d, "op", "sessions", "a")
	require.NoError(t, err)
	require.Len(t, sessions, 3)
	require.Equal(t, processor.Window{Start: at(10), End: at(15)}, sessions[1].Window)
	require.Equal(t, 2, sessions[1].Value)
	versions, err := processortest.StoreVersions[int](d, "op", "versions", "a")
	require.NoError(t, err)
	require.Len(t, versions, 3)
	require.Equal(t, 2, *versions[1].Value)
	require.Equal(t, at(1), versions[1].Time)
	require.Nil(t, versions[2].Value)
	_, err = processortest.StoreVersions[int](d, "op", "sessions", "a")
	require.ErrorIs(t, err, processortest.ErrStore)
	_, err = processortest.StoreSessions[string](d, "op", "sessions", "a")
	require.ErrorIs(t, err, processortest.ErrStore)
}
