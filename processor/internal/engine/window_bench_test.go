package engine

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor/internal/disk"
	"github.com/rossby-streams/rossby/stream"
)

// benchRow is about as large as a metric or a log line.
type benchRow struct {
	Host, App, Message string
	Value              float64
}

// benchWindow is a window store whose rows come at one a nanosecond, so that it holds as many as its retention is long.
type benchWindow struct {
	task *Task
	win  RowStore[benchRow]
	rows int64 // the retention
	now  int64
	keys []string
	late bool // rows come at any time that is kept
}

func newBenchWindow(b *testing.B, rows, keys int, late bool) *benchWindow {
	return newBenchWindowIn(b, rows, keys, late, nil)
}

// newBenchWindowIn is newBenchWindow with the store in a database; nil: in memory.
func newBenchWindowIn(b *testing.B, rows, keys int, late bool, db *disk.DB) *benchWindow {
	w := &benchWindow{rows: int64(rows), late: late, keys: make([]string, keys)}
	for i := range w.keys {
		w.keys[i] = "host-" + strconv.Itoa(i) + ".example"
	}
	w.task = NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) {
		if db == nil {
			w.win = NewWindow(t, "op.win", int64(rows), stream.JSON[benchRow]())
		} else {
			w.win = NewDiskWindow(t, "op.win", int64(rows), stream.JSON[benchRow]())
		}
	}}, 0, 1<<30)
	if db != nil {
		_, err := w.task.OpenDisk(db.Space("bench"))
		require.NoError(b, err)
	}
	for range rows {
		w.step(b)
	}
	w.commit(b)
	return w
}

// step is what a join does with a record: time moves, the partners are looked up, the row takes its place. It returns the number of
// partners.
func (w *benchWindow) step(b *testing.B) (partners int) {
	w.now++
	require.NoError(b, w.task.Advance(w.now))
	w.task.keep()
	at := w.now
	if w.late {
		at -= int64(uint64(w.now)*0x9E3779B97F4A7C15>>33) % w.rows
	}
	key := w.keys[w.now%int64(len(w.keys))]
	for range w.win.Range(key, at-10, at-1) {
		partners++
	}
	w.win.Add(key, at, benchRow{Host: key, App: "kernel", Message: "disk failure", Value: 1})
	if w.now%10_000 == 0 {
		w.commit(b)
	}
	return partners
}

func (w *benchWindow) commit(b *testing.B) {
	c, err := w.task.Commit("bench", true)
	require.NoError(b, err)
	w.task.Appended(c.Number, c.Number)
	require.NoError(b, c.Store(c.Number))
	w.task.Delivered(c.Number)
	w.task.Trim()
}

// BenchmarkWindowHotKey is a step of a join on one key of which so many rows are kept, ten of them partners: the cost must not
// grow with the rows, but for the depth of a search.
func BenchmarkWindowHotKey(b *testing.B) {
	for _, order := range []string{"in order", "out of order"} {
		for _, rows := range []int{1_000, 10_000, 100_000, 1_000_000} { // each window ten times larger than the one before
			b.Run(fmt.Sprintf("%s/%d rows", order, rows), func(b *testing.B) {
				w := newBenchWindow(b, rows, 1, order != "in order")
				partners, steps := 0, 0
				b.ReportAllocs()
				for b.Loop() {
					partners += w.step(b)
					steps++
				}
				b.ReportMetric(float64(partners)/float64(steps), "partners/op")
			})
		}
	}
}

// BenchmarkDiskWindow is a step of a join where a million rows are kept, ten of them partners at most: in memory and on disk, in one run. The keys
// are few, so that a key's rows are among those used lately, or as many as come back once in the retention; rows come in order, or at any time
// that is kept.
func BenchmarkDiskWindow(b *testing.B) {
	const rows, steps = 1_000_000, 200_000
	for _, of := range []struct {
		name string
		keys int
		late bool
	}{{"a thousand keys, in order", 1000, false}, {"half a million keys, in order", rows / 2, false}, {"a thousand keys, out of order", 1000, true}} {
		b.Run(of.name, func(b *testing.B) {
			for b.Loop() {
				var perSecond [2]float64
				for i, onDisk := range []bool{false, true} {
					var db *disk.DB
					if onDisk {
						var err error
						db, err = disk.Open(disk.Config{Dir: b.TempDir()})
						require.NoError(b, err)
					}
					w := newBenchWindowIn(b, rows, of.keys, of.late, db)
					started := time.Now()
					for range steps {
						w.step(b)
					}
					w.commit(b)
					perSecond[i] = steps / time.Since(started).Seconds()
					if onDisk {
						require.NoError(b, db.Close())
					}
				}
				b.ReportMetric(perSecond[1], "disk-steps/s")
				b.ReportMetric(perSecond[0], "memory-steps/s")
				require.NoError(b, benchtable.Record("join of 1 M rows, "+of.name+", on disk against in memory", perSecond[1], perSecond[0], "records/s"))
			}
		})
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
