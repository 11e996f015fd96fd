package processor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// receiver is the other side: it knows the tokens that it has seen.
type receiver struct {
	mu     sync.Mutex
	tokens map[string]string // to key and value
	order  []string
	again  int
	fail   func() error
}

func (r *receiver) take(_ context.Context, batch []processor.Delivery[int]) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tokens == nil {
		r.tokens = make(map[string]string)
	}
	for _, d := range batch {
		what := fmt.Sprint(d.Key, " ", d.Value)
		if had, ok := r.tokens[d.Token]; ok {
			if had != what {
				return fmt.Errorf("token %s names %q and %q", d.Token, had, what)
			}
			r.again++
			continue
		}
		r.tokens[d.Token] = what
		r.order = append(r.order, what)
	}
	if r.fail != nil {
		return r.fail()
	}
	return nil
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.order)
}

func delivering(t testing.TB, r *receiver, policy processor.FailurePolicy) *processor.Topology {
	b := processor.NewBuilder("app")
	counts := processor.Count(processor.From(b, lines), processor.Counting{Name: "count"})
	sink := processor.Map(counts, func(n int64) int { return int(n) }).Deliver("hook", r.take)
	if policy != nil {
		sink.OnFailure(policy)
	}
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

func TestDeliveriesSurviveEveryCrash(t *testing.T) {
	for _, point := range []processortest.Point{processortest.BeforeAppend, processortest.AfterAppend, processortest.AmidDelivery, processortest.AfterDelivery} {
		r := &receiver{}
		d := processortest.New(t, delivering(t, r, nil))
		crashes := 0
		d.CrashWhen(func(s processortest.Step) bool {
			if s.Point == point {
				crashes++
			}
			return s.Point == point && crashes%2 == 1
		})
		for i := range 20 {
			processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: "x", At: at(i)}})
		}
		want := make([]string, 20)
		for i := range want {
			want[i] = fmt.Sprint("k ", i+1)
		}
		require.Equal(t, want, r.got(), "crashes at %v", point)
	}
}

func TestDeliveriesThatFailComeAgain(t *testing.T) {
	r := &receiver{}
	d := processortest.New(t, delivering(t, r, nil))
	r.fail = func() error { return errors.New("away") }
	processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: "x", At: at(0)}})
	require.ErrorContains(t, d.Err(), "away")
	r.fail = nil
	d.Crash()
	require.NoError(t, d.Err())
	require.Equal(t, []string{"k 1"}, r.got())
	require.Equal(t, 1, r.again, "the same token")
}

// TestDeliveriesOfAnApp runs an app against a receiver that fails at random, stops it in the middle, and starts it again: each record
// has been taken, in the order of its key.
func TestDeliveriesOfAnApp(t *testing.T) {
	client := newClient(t)
	produce(t, client, lines, textLines(3000)...)
	calls := 0
	r := &receiver{fail: func() error {
		if calls++; calls%3 != 0 {
			panic("out of order")
		}
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	r2 := delivering(t, r, nil)
	ended := make(chan error, 1)
	go func() { ended <- newApp(t, client, r2, false).Run(ctx) }()
	require.Eventually(t, func() bool { return len(r.got()) > 0 }, time.Minute, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, newApp(t, client, delivering(t, r, nil), true).Run(t.Context()))
	perKey := map[string]int{}
	for _, what := range r.got() {
		var key string
		var n int
		_, err := fmt.Sscan(what, &key, &n)
		require.NoError(t, err)
		perKey[key]++
		require.Equal(t, perKey[key], n)
	}
	require.Len(t, r.got(), 3000)
	require.Positive(t, r.again)
}

func TestDeliveryPolicies(t *testing.T) {
	away := func() error { return errors.New("away") }
	t.Run("dead letters", func(t *testing.T) {
		client := newClient(t)
		produce(t, client, lines, textLines(3)...)
		topology := delivering(t, &receiver{fail: away}, processor.Retry{Attempts: 2, Backoff: 1})
		require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
		letters := all(t, client, topology.DeadLetterTopic())
		require.Len(t, letters, 3)
		times := map[string]time.Time{}
		for _, l := range letters {
			require.Contains(t, l.Headers.Get(processor.DeadOperator), "deliver hook")
			require.Contains(t, l.Headers.Get(processor.DeadError), "away")
			require.Equal(t, "2", l.Headers.Get(processor.DeadAttempt))
			require.Equal(t, "1", string(l.Value))
			origin, err := strconv.Atoi(l.Headers.Get(processor.DeadOffset))
			require.NoError(t, err)
			require.Equal(t, "lines", l.Headers.Get(processor.DeadTopic))
			require.Equal(t, strconv.Itoa(stream.Partition(l.Key, lines.Spec().Partitions)), l.Headers.Get(processor.DeadPartition))
			require.Positive(t, origin)
			at, err := time.Parse(time.RFC3339Nano, l.Headers.Get(stream.TimeHeader))
			require.NoError(t, err)
			times[l.Key] = at
		}
		require.Equal(t, map[string]time.Time{"k0": at(0), "k1": at(1), "k2": at(2)}, times)
		done, err := processor.Redrive(t.Context(), client, topology.DeadLetterTopic(), processor.RedriveConfig{})
		require.NoError(t, err)
		require.Equal(t, processor.Redriven{Kept: 3}, done)
	})
	t.Run("dead letters at once", func(t *testing.T) {
		client := newClient(t)
		produce(t, client, lines, textLines(3)...)
		topology := delivering(t, &receiver{fail: away}, processor.DeadLetter)
		require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
		require.Len(t, all(t, client, topology.DeadLetterTopic()), 3, "it is not the patience of those without a policy")
	})
	t.Run("stop", func(t *testing.T) {
		client := newClient(t)
		produce(t, client, lines, textLines(3)...)
		err := newApp(t, client, delivering(t, &receiver{fail: away}, processor.Stop), true).Run(t.Context())
		require.ErrorIs(t, err, processor.ErrFailedRecord)
		require.ErrorContains(t, err, "deliver hook")
		r := &receiver{}
		require.NoError(t, newApp(t, client, delivering(t, r, nil), true).Run(t.Context()))
		require.Len(t, r.got(), 3, "they were not lost")
	})
	t.Run("skip", func(t *testing.T) {
		client := newClient(t)
		produce(t, client, lines, textLines(3)...)
		topology := delivering(t, &receiver{fail: away}, processor.Skip)
		require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
		require.Empty(t, all(t, client, topology.DeadLetterTopic()))
	})
}

func TestDeliverMistakes(t *testing.T) {
	b := processor.NewBuilder("app")
	in := processor.From(b, lines)
	in.Deliver("a b", nil)
	in.Deliver("twice", func(context.Context, []processor.Delivery[line]) error { return nil })
	in.Deliver("twice", func(context.Context, []processor.Delivery[line]) error { return nil })
	_, err := b.Build()
	for _, want := range []string{"deliver_test.go", `the name "a b" must be`, "needs a function", `the name "twice" is taken already`} {
		require.ErrorContains(t, err, want)
	}
	require.Zero(t, processor.Stream[line]{}.Deliver("x", nil))
}
