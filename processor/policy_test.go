package processor_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

var (
	ints   = stream.Topic[int]{Name: "ints"}
	passed = stream.Topic[int]{Name: "passed"}
	other  = stream.Topic[int]{Name: "other"}
)

// flaky fails the first times calls of each record, after it has changed everything that it can.
func flaky(times int, calls *[]int) func(*processor.Context[int]) processor.Handler[int] {
	return func(c *processor.Context[int]) processor.Handler[int] {
		sums := processor.KeyValueStore[int](c, "sums")
		rows := processor.WindowStore[int](c, "rows", time.Hour)
		tried := map[int]int{}
		return processor.Handler[int]{
			Record: func(r processor.Record[int]) error {
				*calls = append(*calls, r.Value)
				sum, _ := sums.Get(r.Key)
				sums.Put(r.Key, sum+r.Value)
				rows.Add(r.Key, r.Time, r.Value)
				c.Forward(processor.With(r, sum+r.Value))
				if err := c.Schedule(r.Key, r.Time.Add(time.Minute)); err != nil {
					return err
				}
				if tried[r.Value]++; tried[r.Value] <= times {
					return fmt.Errorf("not yet, %d", tried[r.Value])
				}
				return nil
			},
			Timer: func(processor.Timer) error { return nil },
		}
	}
}

func pipe(d *processortest.Driver, values ...int) {
	for i, v := range values {
		processortest.Pipe(d, ints, processor.Record[int]{Key: "k", Value: v, Time: at(i)})
	}
}

func values[V any](records []processor.Record[V]) []V {
	var all []V
	for _, r := range records {
		all = append(all, r.Value)
	}
	return all
}

func build(t *testing.T, b *processor.Builder) *processor.Topology {
	t.Helper()
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

// TestRetryAppliesARecordOnce lets an operator fail twice for each record: in the end each must have counted once, in order.
func TestRetryAppliesARecordOnce(t *testing.T) {
	for _, crash := range []bool{false, true} {
		var calls []int
		b := processor.NewBuilder("retrying")
		processor.Process(processor.From(b, ints), "sum", flaky(2, &calls)).
			OnFailure(processor.Retry{Attempts: 4, Backoff: time.Second}).To(passed)
		d := processortest.New(t, build(t, b))
		began := d.Clock()
		if crash {
			crashOnceAt(d)
		}
		pipe(d, 1, 10, 100)
		require.Equal(t, []int{1, 11, 111}, values(processortest.Read(d, passed)))
		require.Empty(t, d.DeadLetters())
		rows, err := processortest.StoreRows[int](d, "sum", "rows", "k")
		require.NoError(t, err)
		require.Equal(t, []int{1, 10, 100}, rows)
		if !crash {
			require.Equal(t, []int{1, 1, 1, 10, 10, 10, 100, 100, 100}, calls)
			require.Equal(t, 3*(1+2)*time.Second, d.Clock().Sub(began), "1 s, then 2 s")
		}
	}
}

// crashOnceAt kills every task once at every point of every commit.
func crashOnceAt(d *processortest.Driver) {
	seen := map[processortest.Step]bool{}
	d.CrashWhen(func(s processortest.Step) bool {
		first := !seen[s]
		seen[s] = true
		return first
	})
}

func TestRetryEndsInItsLastPolicy(t *testing.T) {
	for then, check := range map[processor.Outcome]func(*processortest.Driver){
		processor.DeadLetter: func(d *processortest.Driver) {
			letters := d.DeadLetters()
			require.Len(t, letters, 1)
			require.Equal(t, "3", letters[0].Headers.Get(processor.DeadAttempt))
			require.Contains(t, letters[0].Headers.Get(processor.DeadError), "not yet, 3")
		},
		processor.Skip: func(d *processortest.Driver) { require.Empty(t, d.DeadLetters()) },
		processor.Stop: func(d *processortest.Driver) { require.ErrorIs(t, d.Err(), processor.ErrFailedRecord) },
	} {
		var calls []int
		b := processor.NewBuilder("failing")
		processor.Process(processor.From(b, ints), "sum", flaky(1000, &calls)).To(passed)
		b.OnFailure(processor.Retry{Attempts: 3, Then: then})
		d := processortest.New(t, build(t, b))
		pipe(d, 7)
		require.Equal(t, []int{7, 7, 7}, calls)
		check(d)
		require.Empty(t, processortest.Read(d, passed))
		_, ok, err := processortest.StoreValue[int](d, "sum", "sums", "k")
		require.NoError(t, err)
		require.False(t, ok, "then %v: a failed record has left something", then)
		rows, err := processortest.StoreRows[int](d, "sum", "rows", "k")
		require.NoError(t, err)
		require.Empty(t, rows)
	}
}

// TestPoliciesAreTheOperatorsOwn gives a source, operators and a sink policies that differ from the topology's.
func TestPoliciesAreTheOperatorsOwn(t *testing.T) {
	limited := stream.Topic[int]{Name: "limited", Codec: refusing{77}}
	b := processor.NewBuilder("own")
	b.OnFailure(processor.Stop)
	in := processor.From(b, ints).OnFailure(processor.Skip)
	in.To(passed)
	in.Filter(func(n int) bool {
		if n == 13 {
			panic("unlucky")
		}
		return true
	}).OnFailure(processor.DeadLetter).To(other)
	in.To(limited).OnFailure(processor.Skip)
	processor.Map(in, func(n int) int {
		if n == 666 {
			panic(errors.New("evil"))
		}
		return n
	}).To(stream.Topic[int]{Name: "mapped"})
	topology := build(t, b)
	require.True(t, strings.HasPrefix(topology.String(), `topology own
  sub-topology ints, 1 partitions
    1 source ints (on failure: skip)
    2 sink passed <- 1
    3 filter (on failure: dead letter) <- 1
    4 sink other <- 3
    5 sink limited (on failure: skip) <- 1
`), topology.String())
	d := processortest.New(t, topology)
	d.PipeBytes(ints.Spec(), "k", []byte("no number"), nil)
	pipe(d, 1, 13, 77, 2)
	require.NoError(t, d.Err())
	require.Equal(t, []int{1, 77, 2}, values(processortest.Read(d, passed)), "13 is a dead letter as a whole, 77 is skipped in one place")
	require.Equal(t, []int{1, 77, 2}, values(processortest.Read(d, other)))
	require.Equal(t, []int{1, 2}, values(processortest.Read(d, stream.Topic[int]{Name: "limited"})))
	letters := d.DeadLetters()
	require.Len(t, letters, 1)
	require.Equal(t, "13", string(letters[0].Value))
	pipe(d, 666)
	require.ErrorIs(t, d.Err(), processor.ErrFailedRecord)
	require.ErrorContains(t, d.Err(), "map (processor/policy_test.go:")
	require.ErrorContains(t, d.Err(), "evil")
}

// refusing is JSON that panics on one number.
type refusing struct{ n int }

func (c refusing) Encode(n int) ([]byte, error) {
	if n == c.n {
		panic("refused")
	}
	return stream.JSON[int]().Encode(n)
}

func (c refusing) Decode(data []byte) (int, error) { return stream.JSON[int]().Decode(data) }

// TestPanicsAnywhereAreFailedRecords has every kind of user function panic: the record becomes a dead letter with the stack, and the
// task goes on.
func TestPanicsAnywhereAreFailedRecords(t *testing.T) {
	bad := func(n int) bool {
		if n == 13 {
			panic("boom")
		}
		return true
	}
	decoding := stream.Topic[int]{Name: "ints", Codec: panicking{}}
	timed := stream.Topic[int]{Name: "ints", Time: func(n int) time.Time { bad(n); return at(n) }}
	for name, describe := range map[string]func(processor.Stream[int]) processor.Stream[int]{
		"filter": func(s processor.Stream[int]) processor.Stream[int] { return s.Filter(bad) },
		"peek": func(s processor.Stream[int]) processor.Stream[int] {
			return s.Peek(func(r processor.Record[int]) { bad(r.Value) })
		},
		"map": func(s processor.Stream[int]) processor.Stream[int] {
			return processor.Map(s, func(n int) int { bad(n); return n })
		},
		"flat-map": func(s processor.Stream[int]) processor.Stream[int] {
			return processor.FlatMap(s, func(n int) []int { bad(n); return []int{n} })
		},
		"key-by": func(s processor.Stream[int]) processor.Stream[int] {
			return processor.KeyBy(s, "by", func(n int) string { bad(n); return "k" })
		},
		"branch": func(s processor.Stream[int]) processor.Stream[int] {
			branches, rest := s.Branch(func(n int) bool { return bad(n) && n < 0 })
			return branches[0].Merge(rest)
		},
		"process": func(s processor.Stream[int]) processor.Stream[int] {
			return processor.Process(s, "p", func(c *processor.Context[int]) processor.Handler[int] {
				return processor.Handler[int]{Record: func(r processor.Record[int]) error { bad(r.Value); c.Forward(r); return nil }}
			})
		},
		"timer": func(s processor.Stream[int]) processor.Stream[int] {
			return processor.Process(s, "p", func(c *processor.Context[int]) processor.Handler[int] {
				return processor.Handler[int]{
					Record: func(r processor.Record[int]) error {
						c.Forward(r)
						if r.Value != 13 {
							return nil
						}
						return c.Schedule("13", r.Time)
					},
					Timer: func(processor.Timer) error { bad(13); return nil },
				}
			})
		},
		"decode":     nil,
		"event time": nil,
	} {
		b := processor.NewBuilder("panics")
		var in processor.Stream[int]
		switch name {
		case "decode":
			in = processor.From(b, decoding)
		case "event time":
			in = processor.From(b, timed)
		default:
			in = describe(processor.From(b, ints))
		}
		in.To(passed)
		d := processortest.New(t, build(t, b))
		for _, n := range []int{1, 13, 2} {
			d.PipeBytes(ints.Spec(), "k", fmt.Append(nil, n), stream.Headers{"Trace": {"x"}})
		}
		require.NoError(t, d.Err(), name)
		letters := d.DeadLetters()
		require.Len(t, letters, 1, name)
		require.Contains(t, letters[0].Headers.Get(processor.DeadError), "boom", name)
		require.Contains(t, letters[0].Headers.Get(processor.DeadStack), "policy_test.go", name)
		if name == "timer" {
			require.Contains(t, letters[0].Headers.Get(processor.DeadError), `timer of key "13" at 2000-01-01T00:00:00Z: panic: boom`)
			require.Equal(t, []int{1, 13, 2}, values(processortest.Read(d, passed)))
			continue
		}
		require.Equal(t, []int{1, 2}, values(processortest.Read(d, passed)), name)
		require.Equal(t, "13", string(letters[0].Value), name)
		require.Equal(t, "x", letters[0].Headers.Get("Trace"), name)
	}
}

// panicking is JSON that panics on 13.
type panicking struct{}

func (panicking) Encode(n int) ([]byte, error) { return stream.JSON[int]().Encode(n) }

func (panicking) Decode(data []byte) (int, error) {
	if string(data) == "13" {
		panic("boom")
	}
	return stream.JSON[int]().Decode(data)
}

// TestMakingAnOperatorPanics does so when Build looks, and when the app runs.
func TestMakingAnOperatorPanics(t *testing.T) {
	calls := 0
	describe := func(allowed int) *processor.Builder {
		b := processor.NewBuilder("making")
		processor.Process(processor.From(b, ints), "made", func(*processor.Context[int]) processor.Handler[int] {
			if calls++; calls > allowed {
				panic("cannot be made")
			}
			return processor.Handler[int]{Record: func(processor.Record[int]) error { return nil }}
		})
		return b
	}
	_, err := describe(0).Build()
	require.ErrorContains(t, err, "process made: making its handler failed: panic: cannot be made")
	calls = 0
	topology := build(t, describe(1))
	err = newApp(t, newClient(t), topology, true).Run(t.Context())
	require.ErrorContains(t, err, "process made (processor/policy_test.go:")
	require.ErrorContains(t, err, "cannot be made")
}

// secretive is a value that does not want to be stored.
type secretive struct{ N int }

func (s secretive) MarshalJSON() ([]byte, error) {
	if s.N == 13 {
		panic("secret")
	}
	return fmt.Append(nil, s.N), nil
}

func (s *secretive) UnmarshalJSON(data []byte) error {
	_, err := fmt.Sscan(string(data), &s.N)
	return err
}

// TestStoredValueThatPanics has a value panic when it is to be encoded, at the commit: it costs itself only.
func TestStoredValueThatPanics(t *testing.T) {
	b := processor.NewBuilder("secrets")
	processor.Process(processor.From(b, ints), "keep", func(c *processor.Context[int]) processor.Handler[int] {
		kept := processor.KeyValueStore[secretive](c, "kept")
		return processor.Handler[int]{Record: func(r processor.Record[int]) error {
			kept.Put(fmt.Sprint(r.Value), secretive{r.Value})
			c.Forward(r)
			return nil
		}}
	}).To(passed)
	d := processortest.New(t, build(t, b))
	pipe(d, 1, 13, 2)
	require.NoError(t, d.Err())
	letters := d.DeadLetters()
	require.Len(t, letters, 1)
	require.Contains(t, letters[0].Headers.Get(processor.DeadError), "panic: secret")
	d.Crash()
	require.Equal(t, []int{1, 13, 2}, values(processortest.Read(d, passed)))
	_, ok, err := processortest.StoreValue[secretive](d, "keep", "kept", "2")
	require.NoError(t, err)
	require.True(t, ok)
}

// TestStoreMadeTooLate makes a store when the first record comes: it would not have been restored.
func TestStoreMadeTooLate(t *testing.T) {
	b := processor.NewBuilder("late")
	processor.Process(processor.From(b, ints), "late", func(c *processor.Context[int]) processor.Handler[int] {
		return processor.Handler[int]{Record: func(processor.Record[int]) error {
			processor.KeyValueStore[int](c, "s")
			return nil
		}}
	})
	d := processortest.New(t, build(t, b))
	pipe(d, 1)
	require.ErrorContains(t, d.Err(), "made too late")
}

// TestCrashesAtEveryStepChangeNothing kills tasks at every point of every commit, on both sides of a repartition, while records fail
// and are tried again.
func TestCrashesAtEveryStepChangeNothing(t *testing.T) {
	run := func(crash bool) (results, dead []string) {
		tries := map[string]int{}
		b := processor.NewBuilder("crashing")
		text := processor.Map(processor.From(b, lines), func(l line) string { return l.Text })
		word := processor.KeyBy(processor.FlatMap(text, strings.Fields), "by-word", func(w string) string { return w })
		processor.Process(word, "count", func(c *processor.Context[int]) processor.Handler[string] {
			h := countWords(c)
			record := h.Record
			h.Record = func(r processor.Record[string]) error {
				if err := record(r); err != nil || r.Value == "never" {
					return errors.New("never")
				}
				if tries[r.Value]++; tries[r.Value]%2 == 1 {
					return errors.New("at the second time")
				}
				return nil
			}
			return h
		}).OnFailure(processor.Retry{Attempts: 2}).To(counts)
		d := processortest.New(t, build(t, b))
		if crash {
			crashOnceAt(d)
		}
		for i, text := range []string{"a b a", "c never a", "b a c a", "", "never"} {
			processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: text, At: at(i)}})
		}
		require.NoError(t, d.Err())
		for _, r := range processortest.Read(d, counts) {
			results = append(results, fmt.Sprint(r.Key, r.Value))
		}
		for _, l := range d.DeadLetters() {
			dead = append(dead, string(l.Value)+l.Headers.Get(processor.DeadAttempt))
		}
		return results, dead
	}
	results, dead := run(false)
	require.Len(t, results, 9)
	require.Equal(t, []string{`"never"2`, `"never"2`}, dead)
	crashed, crashedDead := run(true)
	require.ElementsMatch(t, results, crashed)
	require.Equal(t, dead, crashedDead)
}
