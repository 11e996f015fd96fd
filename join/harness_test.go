package join_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/internal/propertytest"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

func TestMain(m *testing.M) {
	if err := propertytest.Cases(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// at is a time in milliseconds, far enough from 1970 for windows to reach back.
func at(ms int) time.Time { return time.UnixMilli(1_000_000 + int64(ms)).UTC() }

func ms(t time.Time) int { return int(t.UnixMilli() - 1_000_000) }

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func pair(l, r string) string { return l + "," + r }

func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func gather(l string, rs []string) string {
	if rs == nil {
		return l + ": no slice at all"
	}
	return l + "[" + strings.Join(rs, " ") + "]"
}

type verb int

const (
	inner verb = iota
	collectOnClose
	collectOnUpdate
	leftOnClose
	leftOnUpdate
	outerOnClose
	outerOnUpdate
	absence
	asOf
	collectUpTo
)

// fewest is the limit of CollectUpTo: so many records, and so many bytes of them.
var fewest = join.Limit[string]{Rows: 3, Bytes: 7, Size: func(s string) int { return len(s) }}

// bench is one join of strings, run by hand.
type bench struct {
	*processortest.Driver
	lefts, rights, results, lateLefts, lateRights stream.Topic[string]
}

func newBench(t *testing.T, v verb, w join.Window, partitions int) *bench {
	t.Helper()
	topic := func(name string) stream.Topic[string] {
		return stream.Topic[string]{Name: name, Partitions: partitions, Codec: stream.String()}
	}
	s := &bench{
		lefts: topic("left"), rights: topic("right"), results: topic("results"),
		lateLefts: topic("late-left"), lateRights: topic("late-right"),
	}
	b := processor.NewBuilder("join")
	l, r := processor.From(b, s.lefts), processor.From(b, s.rights)
	w.Name = "joined"
	var out join.Result[string, string, string]
	switch v {
	case inner:
		out = join.Inner(l, r, w, pair)
	case collectOnClose:
		out = join.Collect(l, r, w, gather)
	case collectOnUpdate:
		w.Emit = join.OnUpdate
		out = join.Collect(l, r, w, gather)
	case leftOnUpdate:
		w.Emit = join.OnUpdate
		fallthrough
	case leftOnClose:
		out = join.Left(l, r, w, func(l string, r *string) string { return pair(l, orNull(r)) })
	case outerOnUpdate:
		w.Emit = join.OnUpdate
		fallthrough
	case outerOnClose:
		out = join.Outer(l, r, w, func(l, r *string) string { return pair(orNull(l), orNull(r)) })
	case asOf:
		out = join.AsOf(l, r, w, func(l string, r *string) string { return pair(l, orNull(r)) })
	case collectUpTo:
		out = join.CollectUpTo(l, r, join.Collecting[string]{Window: w, Limit: fewest}, func(l string, some join.Some[string]) string {
			return fmt.Sprintf("%s and %d more", gather(l, some.Rows), some.More)
		})
	case absence:
		out = join.Absence(l, r, w, func(l string) string { return pair(l, "null") })
	}
	processor.Process(out, "shown", func(c *processor.Context[string]) processor.Handler[string] {
		return processor.Handler[string]{Record: func(r processor.Record[string]) error {
			c.Forward(processor.With(r, show(r)))
			return nil
		}}
	}).To(s.results)
	ll, lr := out.Late()
	ll.To(s.lateLefts)
	lr.To(s.lateRights)
	topology, err := b.Build()
	require.NoError(t, err)
	s.Driver = processortest.New(t, topology)
	return s
}

// show makes everything that a result carries visible in its value, which is all that a topic keeps of a window.
func show(r processor.Record[string]) string {
	text := fmt.Sprintf("%s@%d in %d..%d until %d", r.Value, ms(r.Time), ms(r.Window.Start), ms(r.Window.End), ms(r.Window.Closes))
	if from := r.Headers.Get("From"); from != "" {
		text += " from " + from
	}
	return text
}

func (s *bench) left(key, value string, t int) {
	processortest.Pipe(s.Driver, s.lefts, processor.Record[string]{Key: key, Value: value, Time: at(t)})
}

func (s *bench) right(key, value string, t int) {
	processortest.Pipe(s.Driver, s.rights, processor.Record[string]{Key: key, Value: value, Time: at(t)})
}

// shown returns what show has made of the results since the last call.
func (s *bench) shown() []string {
	out := []string{}
	for _, r := range processortest.Read(s.Driver, s.results) {
		out = append(out, r.Value)
	}
	return out
}

// got returns the results since the last call as "value@time".
func (s *bench) got() []string {
	out := s.shown()
	for i := range out {
		out[i], _, _ = strings.Cut(out[i], " in ")
	}
	return out
}

// late returns the late records since the last call, left ones first, as "value@time".
func (s *bench) late() []string {
	out := []string{}
	for _, topic := range []stream.Topic[string]{s.lateLefts, s.lateRights} {
		for _, r := range processortest.Read(s.Driver, topic) {
			out = append(out, fmt.Sprintf("%s@%d", r.Value, ms(r.Time)))
		}
	}
	return out
}
