package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor/internal/disk"
	"github.com/rossby-streams/rossby/stream"
)

// benchStore is a task that counts how often each key has come, in values of a hundred bytes.
type benchStore struct {
	task  *Task
	kv    *KeyValue[string]
	value []byte
	next  uint64
}

func newBenchStore() *benchStore { return makeBenchStore(NewKeyValue[string]) }

func makeBenchStore(store func(*Task, string, stream.Codec[string]) *KeyValue[string]) *benchStore {
	s := &benchStore{next: 1}
	plan := &Plan{App: "app", Name: "sub", Inputs: []Input{{Topic: stream.Topic[string]{Name: "in"}.Spec()}}}
	plan.Wire = func(t *Task) {
		s.kv = store(t, "op.kv", stream.String())
		var key string
		t.Bind(0, Source{
			Decode: func(raw *Raw) (int64, error) { key = raw.Key; return int64(raw.Offset), nil },
			Process: func() {
				old, _ := s.kv.Get(key)
				s.kv.Put(key, s.hundredBytes(len(old)))
			},
		})
	}
	s.task = NewTask(plan, 0, 1<<30)
	return s
}

// hundredBytes is a value that shares nothing with another.
func (s *benchStore) hundredBytes(seed int) string {
	s.value = strconv.AppendInt(s.value[:0], int64(seed)+int64(s.next), 10)
	for len(s.value) < 100 {
		s.value = append(s.value, '.')
	}
	return string(s.value)
}

func benchKey(i int) string { return "key-" + strconv.Itoa(1_000_000_000+i) }

// fill puts that many entries and gives each commit to keep, if there is one.
func (s *benchStore) fill(tb testing.TB, entries int, keep func([]byte)) {
	for i := range entries {
		s.kv.Put(benchKey(i), s.hundredBytes(i))
		if i%10_000 == 9_999 || i == entries-1 {
			s.task.changed = true
			if data := s.commit(tb); keep != nil {
				keep(data)
			}
		}
	}
}

func (s *benchStore) commit(tb testing.TB) []byte {
	c, err := s.task.Commit("bench", true)
	require.NoError(tb, err)
	s.task.Appended(c.Number, c.Number)
	require.NoError(tb, c.Store(c.Number))
	s.task.Delivered(c.Number)
	s.task.Trim()
	return c.Data
}

// entryBytes is what an entry of benchStore has to hold whatever one does.
var entryBytes = float64(len(benchKey(0)) + 100)

// BenchmarkKeyValueMemory is what an entry takes beside the bytes of its key and value. The reference is a map of strings, which can
// neither be restored nor expire.
func BenchmarkKeyValueMemory(b *testing.B) {
	for _, entries := range []int{10_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("%d entries", entries), func(b *testing.B) {
			var ours, reference float64
			for b.Loop() {
				before := heapInUse()
				s := newBenchStore()
				s.fill(b, entries, nil)
				ours = float64(heapInUse()-before)/float64(entries) - entryBytes
				runtime.KeepAlive(s)
				s = &benchStore{}
				before = heapInUse()
				m := make(map[string]string)
				for i := range entries {
					m[benchKey(i)] = s.hundredBytes(i)
				}
				reference = float64(heapInUse()-before)/float64(entries) - entryBytes
				runtime.KeepAlive(m)
			}
			b.ReportMetric(ours, "B/entry")
			b.ReportMetric(reference, "map-B/entry")
			name := fmt.Sprintf("memory of %d entries of 100 bytes, overhead against a map of strings", entries)
			require.NoError(b, benchtable.Record(name, 1e6/ours, 1e6/reference, "entries/MB"))
		})
	}
}

// BenchmarkRestore is how fast a task gets five million entries of a hundred bytes back. A million a second is wanted.
func BenchmarkRestore(b *testing.B) {
	const entries = 5_000_000
	var journal [][]byte
	newBenchStore().fill(b, entries, func(data []byte) { journal = append(journal, data) })
	runtime.GC()
	var spent time.Duration
	rounds := 0
	for b.Loop() {
		s := newBenchStore()
		started := time.Now()
		for i, data := range journal {
			require.NoError(b, s.task.Restore(uint64(i+1), data))
		}
		_, err := s.task.Restored()
		require.NoError(b, err)
		spent += time.Since(started)
		rounds++
		require.Equal(b, entries, s.kv.Len())
	}
	perSecond := float64(entries*rounds) / spent.Seconds()
	b.ReportMetric(perSecond, "entries/s")
	require.NoError(b, benchtable.Record("restore of 5 M entries of 100 bytes, wanted: 1 M/s", perSecond, 1e6, "entries/s"))
}

// tail is what a step costs beyond the average.
type tail struct {
	p50, p99, p999, max time.Duration
	gcPause             time.Duration // the longest
	assist              time.Duration // CPU time of goroutines that had to help the collector
	cycles              uint64
}

// steps measures many steps on random keys, each by itself, with a commit every 10,000.
func (s *benchStore) steps(b *testing.B, entries, steps int) tail {
	const slice, collectEvery = 500, 500_000
	rnd := rand.New(rand.NewPCG(1, 2))
	took := make([]time.Duration, 0, steps)
	before := readGC()
	var collector sync.WaitGroup
	defer collector.Wait()
	for len(took) < steps {
		if len(took)%collectEvery == 0 {
			collector.Wait()
			collector.Go(runtime.GC) // a large heap is collected more rarely, and its collections are what this is about
		}
		messages := make([]stream.Message, slice)
		for i := range messages {
			messages[i] = stream.Message{Offset: s.next, Key: benchKey(rnd.IntN(entries))}
			s.next++
		}
		s.task.Feed(0, messages)
		for range messages {
			started := time.Now()
			done, err := s.task.Step()
			took = append(took, time.Since(started))
			if err != nil || !done {
				b.Fatal(done, err)
			}
		}
		if len(took)%10_000 == 0 {
			s.commit(b)
		}
	}
	after := readGC()
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))] }
	return tail{
		p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1),
		gcPause: after.longestPauseSince(before), assist: after.assist - before.assist, cycles: after.cycles - before.cycles,
	}
}

// gcState is what the runtime says of its collector.
type gcState struct {
	pauses *metrics.Float64Histogram
	assist time.Duration
	cycles uint64
}

func readGC() gcState {
	samples := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}, {Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	h := samples[0].Value.Float64Histogram()
	return gcState{
		pauses: &metrics.Float64Histogram{Counts: slices.Clone(h.Counts), Buckets: h.Buckets},
		assist: time.Duration(samples[1].Value.Float64() * 1e9), cycles: samples[2].Value.Uint64(),
	}
}

func (s gcState) longestPauseSince(before gcState) time.Duration {
	for i := len(s.pauses.Counts) - 1; i >= 0; i-- {
		if s.pauses.Counts[i] > before.pauses.Counts[i] && !math.IsInf(s.pauses.Buckets[i+1], 1) {
			return time.Duration(s.pauses.Buckets[i+1] * 1e9)
		}
	}
	return 0
}

// BenchmarkStepTail compares the slowest steps of a task that holds ten million entries with those of one that holds ten thousand.
func BenchmarkStepTail(b *testing.B) {
	const few, many, steps = 10_000, 10_000_000, 3_000_000
	for b.Loop() {
		measure := func(entries int) tail {
			s := newBenchStore()
			s.fill(b, entries, nil)
			runtime.GC()
			s.steps(b, entries, steps/10)
			t := s.steps(b, entries, steps)
			b.Logf("%d entries: p50 %v p99 %v p99.9 %v max %v, longest GC pause %v, assists %v in %d cycles",
				entries, t.p50, t.p99, t.p999, t.max, t.gcPause, t.assist, t.cycles)
			return t
		}
		small, large := measure(few), measure(many)
		b.ReportMetric(float64(large.p99)/float64(small.p99), "p99-ratio")
		b.ReportMetric(float64(large.p99), "p99-ns")
		b.ReportMetric(float64(large.p999), "p99.9-ns")
		b.ReportMetric(float64(large.gcPause), "gc-pause-ns")
		b.ReportMetric(float64(large.assist)/steps, "assist-ns/step")
		require.NoError(b, benchtable.Record("p99 of a step, 10 M entries against 10 k", 1e9/float64(large.p99), 1e9/float64(small.p99), "steps/s"))
	}
}

// BenchmarkDisk puts and reads a million entries of a hundred bytes, of which a tenth is hot, through commits: on disk and in memory, in
// one run. What a restart costs is beside it: from the database, and from the journal alone.
func BenchmarkDisk(b *testing.B) {
	const entries, steps = 1_000_000, 500_000
	for b.Loop() {
		var perSecond [2]float64
		var journal [][]byte
		for i, onDisk := range []bool{false, true} {
			s, f := newBenchStoreOn(b, onDisk)
			started := time.Now()
			s.fill(b, entries, func(data []byte) {
				if onDisk {
					journal = append(journal, data)
				}
			})
			filled := time.Since(started)
			s.next = 1
			started = time.Now()
			t := s.steps(b, entries, steps)
			perSecond[i] = steps / time.Since(started).Seconds()
			b.Logf("on disk %t: filled at %.0f entries/s, %.0f steps/s, a step p50 %v p99 %v p99.9 %v", onDisk,
				entries/filled.Seconds(), perSecond[i], t.p50, t.p99, t.p999)
			if !onDisk {
				continue
			}
			last := s.commit(b)
			started = time.Now()
			again, _ := newBenchStoreIn(b, f)
			require.NoError(b, again.task.Restore(s.task.LastCommit(), last))
			_, err := again.task.Restored()
			require.NoError(b, err)
			b.ReportMetric(float64(time.Since(started).Milliseconds()), "restart-ms")
			require.Equal(b, entries, again.kv.Len())

			fresh, _ := newBenchStoreOn(b, true)
			started = time.Now()
			for i, data := range journal {
				require.NoError(b, fresh.task.Restore(uint64(i+1), data))
			}
			_, err = fresh.task.Restored()
			require.NoError(b, err)
			b.ReportMetric(entries/time.Since(started).Seconds(), "rebuilt-entries/s")
			require.Equal(b, entries, fresh.kv.Len())
		}
		b.ReportMetric(perSecond[1], "disk-steps/s")
		b.ReportMetric(perSecond[0], "memory-steps/s")
		require.NoError(b, benchtable.Record("1 M entries read and written at random, on disk against in memory", perSecond[1], perSecond[0], "records/s"))
	}
}

// newBenchStoreOn is newBenchStore, on disk or not.
func newBenchStoreOn(b *testing.B, onDisk bool) (*benchStore, *disk.DB) {
	if !onDisk {
		return newBenchStore(), nil
	}
	db, err := disk.Open(disk.Config{Dir: b.TempDir()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	return newBenchStoreIn(b, db)
}

func newBenchStoreIn(b *testing.B, db *disk.DB) (*benchStore, *disk.DB) {
	s := makeBenchStore(NewOnDisk[string])
	_, err := s.task.OpenDisk(db.Space("bench"))
	require.NoError(b, err)
	return s, db
}
