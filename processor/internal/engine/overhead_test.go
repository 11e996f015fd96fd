package engine

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/stream"
)

// kindOfStore is how to fill a store of a kind with entries of fourteen and a hundred bytes, and a map beside it that holds the same, which
// can neither be restored nor expire.
type kindOfStore struct {
	name  string
	bytes int // of key and value in an entry
	make  func(t *Task) (put func(i int))
	plain func(entries int) any
}

const (
	kindStep = int64(time.Millisecond) // of stream time, between two entries
	kindKept = int64(24 * time.Hour)
)

func kindKey(i int) string { return "key-" + strconv.Itoa(1_000_000_000+i) }

func kindValue(i int) string {
	b := strconv.AppendInt(make([]byte, 0, 100), int64(i), 10)
	for len(b) < 100 {
		b = append(b, '.')
	}
	return string(b)
}

// earlier is one of the entries up to i, at random.
func earlier(i int) int { return int(uint64(i) * 0x9E3779B97F4A7C15 >> 33 % uint64(i+1)) }

// timed is a value and when it was put.
type timed struct {
	at    int64
	value string
}

var kindsOfStores = []kindOfStore{
	{
		name: "key-value", bytes: 114,
		make: func(t *Task) func(int) {
			s := NewKeyValue(t, "op.s", stream.String())
			return func(i int) { s.Put(kindKey(i), kindValue(i)) }
		},
		plain: func(entries int) any {
			m := make(map[string]string)
			for i := range entries {
				m[kindKey(i)] = kindValue(i)
			}
			return m
		},
	},
	{
		name: "key-value, put again", bytes: 114,
		make: func(t *Task) func(int) {
			s := NewKeyValue(t, "op.s", stream.String())
			return func(i int) {
				s.Put(kindKey(i), kindValue(i))
				s.Put(kindKey(earlier(i)), kindValue(i))
			}
		},
		plain: func(entries int) any {
			m := make(map[string]string)
			for i := range entries {
				m[kindKey(i)] = kindValue(i)
				m[kindKey(earlier(i))] = kindValue(i)
			}
			return m
		},
	},
	{
		name: "expiring", bytes: 114,
		make: func(t *Task) func(int) {
			s := NewExpiring(t, "op.s", kindKept, stream.String())
			return func(i int) { s.Put(kindKey(i), kindValue(i)) }
		},
		plain: func(entries int) any {
			m := make(map[string]timed)
			for i := range entries {
				m[kindKey(i)] = timed{int64(i), kindValue(i)}
			}
			return m
		},
	},
	windowKind("window, a row for each key", func(i int) string { return kindKey(i) }),
	windowKind("window, two rows for each key", func(i int) string { return kindKey(i / 2) }),
	windowKind("window, three rows for each key", func(i int) string { return kindKey(i / 3) }),
	windowKind("window, nine rows for each key", func(i int) string { return kindKey(i / 9) }),
	windowKind("window, a thousand keys", func(i int) string { return kindKey(i % 1000) }),
	{
		name: "window, rows set again", bytes: 114,
		make: func(t *Task) func(int) {
			s := NewWindow(t, "op.s", kindKept, stream.String())
			return func(i int) {
				s.Add(kindKey(i), int64(i)*kindStep, kindValue(i))
				past := earlier(i)
				s.Set(RowID{Key: kindKey(past), At: int64(past) * kindStep, Seq: uint64(past) + 1}, kindValue(i))
			}
		},
		plain: func(entries int) any {
			m := make(map[string][]timed)
			for i := range entries {
				m[kindKey(i)] = append(m[kindKey(i)], timed{int64(i), kindValue(i)})
				m[kindKey(earlier(i))][0].value = kindValue(i)
			}
			return m
		},
	},
	{
		name: "timers", bytes: 14 + 8,
		make: func(t *Task) func(int) {
			s := NewTimers(t, "op.s", func(string, int64) {})
			return func(i int) { s.Set(kindKey(i), kindTimer(i)) }
		},
		plain: func(entries int) any {
			m := make(map[timerID]struct{})
			for i := range entries {
				m[timerID{kindKey(i), kindTimer(i)}] = struct{}{}
			}
			return m
		},
	},
}

// kindTimer is later than all entries.
func kindTimer(i int) int64 { return int64(1000*time.Hour) + int64(i)*1_000_003%int64(time.Hour) }

func windowKind(name string, key func(int) string) kindOfStore {
	return kindOfStore{
		name: name, bytes: 114,
		make: func(t *Task) func(int) {
			s := NewWindow(t, "op.s", kindKept, stream.String())
			return func(i int) { s.Add(key(i), int64(i)*kindStep, kindValue(i)) }
		},
		plain: func(entries int) any {
			m := make(map[string][]timed)
			for i := range entries {
				m[key(i)] = append(m[key(i)], timed{int64(i), kindValue(i)})
			}
			return m
		},
	}
}

// fill makes a task with so many entries, and tells what it commits.
func (k *kindOfStore) fill(tb testing.TB, entries int, committed func([]byte)) *Task {
	var put func(i int)
	task := NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) { put = k.make(t) }}, 0, 1<<30)
	for i := range entries {
		if err := task.Advance(int64(i) * kindStep); err != nil {
			tb.Fatal(err)
		}
		put(i)
		task.keep()
		if i%1_000 == 999 || i == entries-1 {
			c, err := task.Commit("o", true)
			require.NoError(tb, err)
			task.Appended(c.Number, c.Number)
			task.Delivered(c.Number)
			committed(c.Data)
		}
	}
	return task
}

// overhead is what an entry takes beside its key and its value.
func (k *kindOfStore) overhead(entries int, fill func() any) (bytes, objects float64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	held := fill()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(held)
	n := float64(entries)
	return float64(int64(after.HeapAlloc-before.HeapAlloc))/n - float64(k.bytes), float64(int64(after.HeapObjects-before.HeapObjects)) / n
}

// TestStoresAreCompact counts what entries take. The collector must not find an object for each.
func TestStoresAreCompact(t *testing.T) {
	const entries, most = 50_000, 100
	for _, k := range kindsOfStores {
		t.Run(k.name, func(t *testing.T) {
			var task *Task
			journal, room := make([][]byte, 0, entries), make([]byte, 0, 1000*entries) // not counted, since they are there before
			bytes, objects := k.overhead(entries, func() any {
				task = k.fill(t, entries, func(data []byte) {
					at := len(room)
					room = append(room, data...)
					journal = append(journal, room[at:])
				})
				return task
			})
			require.Less(t, bytes, float64(most))
			require.Less(t, objects, 1.5)
			bytes, objects = k.overhead(entries, func() any { return restoredFrom(t, task, journal) })
			runtime.KeepAlive(task)
			runtime.KeepAlive(journal)
			require.Less(t, bytes, float64(most))
			require.Greater(t, bytes, 0.0)
			require.Less(t, objects, 1.5)
		})
	}
}

func restoredFrom(tb testing.TB, task *Task, journal [][]byte) *Task {
	again := NewTask(task.plan, 0, 1<<30)
	for i, data := range journal {
		require.NoError(tb, again.Restore(uint64(i+1), data))
	}
	_, err := again.Restored()
	require.NoError(tb, err)
	return again
}

// BenchmarkOverhead is what an entry of each kind of store takes beside its key and its value, against a map; and how long the collector
// works on all of them.
func BenchmarkOverhead(b *testing.B) {
	const entries = 1_000_000
	for _, k := range kindsOfStores {
		b.Run(k.name, func(b *testing.B) {
			for b.Loop() {
				var task *Task
				started := time.Now()
				ours, _ := k.overhead(entries, func() any {
					task = k.fill(b, entries, func([]byte) {})
					b.ReportMetric(float64(time.Since(started).Nanoseconds())/entries, "ns/put")
					return task
				})
				collected := collection()
				runtime.KeepAlive(task)
				var plain any
				reference, _ := k.overhead(entries, func() any { plain = k.plain(entries); return plain })
				plainCollected := collection()
				runtime.KeepAlive(plain)
				b.ReportMetric(ours, "B/entry")
				b.ReportMetric(reference, "map-B/entry")
				b.ReportMetric(float64(collected.Milliseconds()), "gc-ms")
				b.ReportMetric(float64(plainCollected.Milliseconds()), "map-gc-ms")
				require.NoError(b, benchtable.Record(fmt.Sprintf("overhead of an entry of 1 M against a map: %s", k.name), 1e6/ours, 1e6/reference, "entries/MB"))
			}
		})
	}
}

// collection is how long a collection takes.
func collection() time.Duration {
	shortest := time.Hour
	for range 3 {
		started := time.Now()
		runtime.GC()
		shortest = min(shortest, time.Since(started))
	}
	return shortest
}

// BenchmarkRestoreOfKinds is how fast the entries of a store come back, against putting as many into a map.
func BenchmarkRestoreOfKinds(b *testing.B) {
	const entries = 1_000_000
	for _, k := range kindsOfStores {
		b.Run(k.name, func(b *testing.B) {
			var journal [][]byte
			task := k.fill(b, entries, func(data []byte) { journal = append(journal, data) })
			for b.Loop() {
				started := time.Now()
				restoredFrom(b, task, journal)
				ours := entries / time.Since(started).Seconds()
				started = time.Now()
				runtime.KeepAlive(k.plain(entries))
				reference := entries / time.Since(started).Seconds()
				b.ReportMetric(ours, "entries/s")
				b.ReportMetric(reference, "map-entries/s")
				require.NoError(b, benchtable.Record("restore of 1 M entries against filling a map: "+k.name, ours, reference, "entries/s"))
			}
		})
	}
}

// TestGarbageIsBounded updates few sessions many times, as operators do: the row and the timer of the old end go, those of the new one
// come. What is kept beside them must not grow with the updates.
func TestGarbageIsBounded(t *testing.T) {
	const keys, updates = 50, 40_000
	m := newMachine()
	last := map[string]RowID{}
	for i := range updates {
		key, at := kindKey(i%keys), int64(1_000_000+i)
		if id, ok := last[key]; ok {
			m.win.Remove(id)
			m.timers.Cancel(key, id.At)
			m.walls.Cancel(key, id.At)
			m.exp.Delete(key)
		}
		m.win.Add(key, at, "v")
		m.timers.Set(key, at)
		m.walls.Set(key, at)
		m.exp.Put(key, "v")
		for id := range m.win.Range(key, at, at) {
			last[key] = id
		}
		m.task.keep()
		if i%100 == 0 {
			m.task.changed = true
			m.commit(t)
		}
	}
	m.commit(t)
	const notes = 2*keys + 2*1024
	require.LessOrEqual(t, m.inMemory().expiry.count, notes)
	require.LessOrEqual(t, m.exp.expiry.count, notes)
	require.Zero(t, m.exp.young.count)
	for _, timers := range []*Timers{m.timers, m.walls} {
		require.Equal(t, keys, timers.Len())
		require.LessOrEqual(t, len(timers.queue), notes)
		require.LessOrEqual(t, timers.rows.held, 4*smallSegment)
	}
	require.LessOrEqual(t, m.inMemory().rows.held, 4*smallSegment)
	require.LessOrEqual(t, len(m.inMemory().hot.items), 300)
	require.Equal(t, keys, m.win.Len())
}
