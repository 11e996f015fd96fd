package join_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// runByHand is the same program without the framework: it reads the two topics in order of time, keeps what is within the
// window in slices per host, journals its rows and positions with a fenced append per batch, and publishes the results with
// message ids. It knows its types, its one join and nothing else.
func (c benchCase) runByHand(b *testing.B, nc *nats.Conn, name string) int {
	js, err := jetstream.New(nc)
	require.NoError(b, err)
	var wg sync.WaitGroup
	results := make([]int, benchPartitions)
	for p := range benchPartitions {
		wg.Go(func() {
			h := &handJoin{benchCase: c, js: js, name: name, partition: p}
			if err := h.run(b.Context()); err != nil {
				b.Errorf("by hand, partition %d: %v", p, err)
			}
			results[p] = h.results
		})
	}
	wg.Wait()
	total := 0
	for _, n := range results {
		total += n
	}
	return total
}

type handJoin struct {
	benchCase
	js        jetstream.JetStream
	name      string
	partition int
	metrics   map[string][]benchMetric
	logs      map[string][]benchLog
	journal   string
	lastSeq   uint64
	results   int
	pending   []*nats.Msg // results of the batch in hand
	commit    handCommit
}

// handCommit is what the program by hand journals: positions and the rows since the last commit, as the bytes that came in.
type handCommit struct {
	Metrics, Logs int
	Rows          []json.RawMessage
}

func (h *handJoin) run(ctx context.Context) error {
	h.metrics, h.logs = make(map[string][]benchMetric), make(map[string][]benchLog)
	h.journal = fmt.Sprintf("%s-journal-%d", h.name, h.partition)
	for _, s := range []jetstream.StreamConfig{
		{Name: h.journal, Subjects: []string{h.journal}},
		{Name: fmt.Sprintf("%s-hits-%d", h.name, h.partition), Subjects: []string{fmt.Sprintf("%s-hits.%d.>", h.name, h.partition)}},
	} {
		if _, err := h.js.CreateStream(ctx, s); err != nil {
			return err
		}
	}
	metrics, stopMetrics, metricCount, err := h.read(ctx, "metrics")
	if err != nil {
		return err
	}
	defer stopMetrics()
	logs, stopLogs, logCount, err := h.read(ctx, "logs")
	if err != nil {
		return err
	}
	defer stopLogs()
	var m *handRecord[benchMetric]
	var l *handRecord[benchLog]
	for n := 1; m != nil || l != nil || h.commit.Metrics < metricCount || h.commit.Logs < logCount; n++ {
		if m == nil && h.commit.Metrics < metricCount {
			if m, err = decodeByHand[benchMetric](<-metrics); err != nil {
				return err
			}
			h.commit.Metrics++
		}
		if l == nil && h.commit.Logs < logCount {
			if l, err = decodeByHand[benchLog](<-logs); err != nil {
				return err
			}
			h.commit.Logs++
		}
		if l == nil || m != nil && !l.value.Time.Before(m.value.Time) {
			err = h.metric(m)
			m = nil
		} else {
			err = h.log(l)
			l = nil
		}
		if err == nil && n%benchBatch == 0 {
			err = h.flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return h.flush(ctx)
}

type handRecord[V any] struct {
	key   string
	value V
	raw   []byte
}

func decodeByHand[V any](m jetstream.Msg) (*handRecord[V], error) {
	r := &handRecord[V]{raw: m.Data()}
	_, rest, _ := strings.Cut(m.Subject(), ".")
	_, r.key, _ = strings.Cut(rest, ".")
	return r, jsonv2.Unmarshal(r.raw, &r.value)
}

func (h *handJoin) read(ctx context.Context, topic string) (<-chan jetstream.Msg, func(), int, error) {
	s, err := h.js.Stream(ctx, fmt.Sprintf("%s-%d", topic, h.partition))
	if err != nil {
		return nil, nil, 0, err
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, nil, 0, err
	}
	messages := make(chan jetstream.Msg, 4096)
	done := make(chan struct{})
	c, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case messages <- m:
		case <-done:
		}
	}, jetstream.PullMaxMessages(4096))
	if err != nil {
		return nil, nil, 0, err
	}
	stop := func() {
		close(done)
		c.Stop()
		<-c.Closed()
	}
	return messages, stop, int(s.CachedInfo().State.Msgs), nil
}

func (h *handJoin) metric(r *handRecord[benchMetric]) error {
	m := r.value
	lines := h.window(len(h.logs[r.key]), m.Time, func(i int) time.Time { return h.logs[r.key][i].Time })
	for _, l := range h.logs[r.key][lines.from:lines.to] {
		if err := h.emit(r.key, m, l); err != nil {
			return err
		}
	}
	h.logs[r.key] = h.logs[r.key][lines.old:]
	h.metrics[r.key] = append(h.metrics[r.key], m)
	h.commit.Rows = append(h.commit.Rows, r.raw)
	return nil
}

func (h *handJoin) log(r *handRecord[benchLog]) error {
	l := r.value
	samples := h.window(len(h.metrics[r.key]), l.Time, func(i int) time.Time { return h.metrics[r.key][i].Time })
	for _, m := range h.metrics[r.key][samples.from:samples.to] {
		if err := h.emit(r.key, m, l); err != nil {
			return err
		}
	}
	h.metrics[r.key] = h.metrics[r.key][samples.old:]
	h.logs[r.key] = append(h.logs[r.key], l)
	h.commit.Rows = append(h.commit.Rows, r.raw)
	return nil
}

// handWindow is where the partners of a record are in a slice in order of time, and how many rows before them are of no use any more.
type handWindow struct{ from, to, old int }

func (h *handJoin) window(n int, at time.Time, timeOf func(int) time.Time) handWindow {
	before := func(t time.Time) int { return sort.Search(n, func(i int) bool { return !timeOf(i).Before(t) }) }
	return handWindow{from: before(at.Add(-h.within)), to: before(at.Add(h.within + 1)), old: before(at.Add(-2*h.within - h.grace))}
}

func (h *handJoin) emit(key string, m benchMetric, l benchLog) error {
	data, err := jsonv2.Marshal(benchCorrelate(m, l))
	if err != nil {
		return err
	}
	h.results++
	out := nats.NewMsg(fmt.Sprintf("%s-hits.%d.%s", h.name, h.partition, key))
	out.Data = data
	out.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s/%d/%d", h.name, h.partition, h.results))
	h.pending = append(h.pending, out)
	return nil
}

// flush makes the batch durable, and publishes its results then.
func (h *handJoin) flush(ctx context.Context) error {
	data, err := jsonv2.Marshal(h.commit)
	if err != nil {
		return err
	}
	for chunk := data; len(chunk) > 0; { // the server takes a megabyte at once
		n := min(len(chunk), 900<<10)
		ack, err := h.js.Publish(ctx, h.journal, chunk[:n], jetstream.WithExpectLastSequence(h.lastSeq))
		if err != nil {
			return err
		}
		h.lastSeq, chunk = ack.Sequence, chunk[n:]
	}
	acks := make([]jetstream.PubAckFuture, len(h.pending))
	for i, m := range h.pending {
		if acks[i], err = h.js.PublishMsgAsync(m); err != nil {
			return err
		}
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		}
	}
	h.pending, h.commit.Rows = h.pending[:0], h.commit.Rows[:0]
	return nil
}
