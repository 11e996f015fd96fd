package engine

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

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
	win  *Window[benchRow]
	rows int64 // the retention
	now  int64
	keys []string
	late bool // rows come at any time that is kept
}

func newBenchWindow(b *testing.B, rows, keys int, late bool) *benchWindow {
	w := &benchWindow{rows: int64(rows), late: late, keys: make([]string, keys)}
	for i := range w.keys {
		w.keys[i] = "host-" + strconv.Itoa(i) + ".example"
	}
	w.task = NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) {
		w.win = NewWindow(t, "op.win", int64(rows), stream.JSON[benchRow]())
	}}, 0, 1<<30)
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

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
