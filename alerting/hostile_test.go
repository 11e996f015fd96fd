package alerting_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

const notUTF8 = "bad \xff byte"

// windowed is a topology whose samples have a window of a minute, without a join.
func windowed(t *testing.T, context func(metric) any) *processortest.Driver {
	t.Helper()
	b := processor.NewBuilder("windowed")
	in := processor.Process(processor.From(b, metrics), "window", func(c *processor.Context[metric]) processor.Handler[metric] {
		return processor.Handler[metric]{Record: func(r processor.Record[metric]) error {
			r.Window = processor.Window{Start: r.Time, End: r.Time.Add(time.Minute), Closes: r.Time.Add(time.Minute)}
			c.Forward(r)
			return nil
		}}
	})
	alerting.Threshold(in, alerting.Rule[metric]{
		Name: "R", Value: func(m metric) float64 { return m.CPU }, When: alerting.Above(80), Context: context,
	}).To(alarms)
	topology, err := b.Build()
	require.NoError(t, err)
	return processortest.New(t, topology)
}

func sample(d *processortest.Driver, key string, seconds int, cpu float64, h stream.Headers) {
	processortest.Pipe(d, metrics, processor.Record[metric]{Key: key, Value: metric{cpu, at(seconds)}, Headers: h})
}

// TestBytesThatAreNotTextCostNoAlarm: a value that a store cannot encode would stop the task at every commit, for ever.
func TestBytesThatAreNotTextCostNoAlarm(t *testing.T) {
	for name, c := range map[string]struct {
		key     string
		headers stream.Headers
		context any
	}{
		"key":     {key: "a\xff"},
		"headers": {key: "a", headers: stream.Headers{"X": {notUTF8}, "Y\xff": {"1", "2"}}},
		"context": {key: "a", context: map[string]string{"message": notUTF8}},
	} {
		t.Run(name, func(t *testing.T) {
			d := windowed(t, func(metric) any { return c.context })
			sample(d, c.key, 0, 90, c.headers)
			sample(d, c.key, 10, 10, c.headers) // held back: it goes through the store
			require.NoError(t, d.Err())
			d.Crash()
			d.CloseAll()
			require.NoError(t, d.Err())
			require.Empty(t, d.DeadLetters())
			got := processortest.Read(d, alarms)
			require.Len(t, got, 2)
			require.Equal(t, alerting.Resolved, got[1].Value.State)
			require.Equal(t, c.key, got[1].Key)
			for name, values := range c.headers { // what has been in a store has lost what is not text
				for i, v := range values {
					require.Equal(t, text(v), text(got[1].Headers[text(name)][i]))
				}
			}
		})
	}
}

func TestDurationsInTheContextAreNanoseconds(t *testing.T) {
	d := windowed(t, func(metric) any { return struct{ Took time.Duration }{time.Second} })
	sample(d, "a", 0, 90, nil)
	got := processortest.Read(d, alarms)
	require.Len(t, got, 1)
	require.JSONEq(t, `{"Took":1000000000}`, string(got[0].Value.Context))
}

func TestContextsThatCannotBeEncodedFailAndSayWhy(t *testing.T) {
	for name, context := range map[string]any{
		"channel": make(chan int),
		// The store is strict: what it would refuse at the commit must fail here, as one record.
		"names twice": json.RawMessage(`{"a":1,"a":2}`),
	} {
		t.Run(name, func(t *testing.T) {
			d := windowed(t, func(metric) any { return context })
			sample(d, "a", 0, 90, nil)
			require.NoError(t, d.Err())
			letters := d.DeadLetters()
			require.Len(t, letters, 1)
			require.Contains(t, letters[0].Headers.Get(processor.DeadError), "rule R: encode the context")
		})
	}
}

func TestBuildRefusesSeverityAndLabelsThatAreNotText(t *testing.T) {
	for _, rule := range []alerting.Rule[metric]{{Severity: notUTF8}, {Labels: map[string]string{"team": notUTF8}}} {
		b := processor.NewBuilder("bad")
		rule.Name, rule.Value, rule.When = "R", func(m metric) float64 { return m.CPU }, alerting.Above(1)
		alerting.Threshold(processor.From(b, metrics), rule).To(alarms)
		_, err := b.Build()
		require.ErrorContains(t, err, "must be UTF-8")
		require.ErrorContains(t, err, "alerting/hostile_test.go:")
	}
}

// event of a random history: a log line, or a sample.
type event struct {
	key  string
	at   int
	cpu  float64
	line bool
}

// TestEqualsItsDescription compares firing and resolved alarms, and the complete context of each, with what a reader of the whole
// history would say; with crashes anywhere.
func TestEqualsItsDescription(t *testing.T) {
	for seed := range uint64(25) {
		for _, emit := range []join.Emit{join.OnUpdate, join.OnClose} {
			r := rand.New(rand.NewPCG(seed, 7))
			hold := time.Duration(r.IntN(3)*25) * time.Second
			events := make([]event, 60)
			now := 0
			for i := range events {
				now += 1 + r.IntN(12)
				events[i] = event{
					key: string(rune('a' + r.IntN(2))), at: now, line: r.IntN(2) == 0, cpu: []float64{60, 75, 90}[r.IntN(3)],
				}
			}
			got := play(t, events, emit, hold, func() bool { return r.IntN(3) == 0 })
			require.ElementsMatch(t, describe(events, hold), got, "seed %d, emit %v, for %v", seed, emit, hold)
		}
	}
}

func play(t *testing.T, events []event, emit join.Emit, hold time.Duration, crash func() bool) []string {
	t.Helper()
	b := processor.NewBuilder("random")
	in := join.Collect(processor.From(b, metrics), processor.From(b, syslogs),
		join.Window{Name: "joined", Within: 60 * time.Second, Grace: 5 * time.Second, Emit: emit}, correlate)
	alerting.Threshold(in, alerting.Rule[incident]{
		Name: "R", Value: func(i incident) float64 { return i.CPU }, When: alerting.Above(80).ClearAt(70), For: hold,
		Context: func(i incident) any { return len(i.Lines) },
	}).To(alarms)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	for _, e := range events {
		if e.line {
			processortest.Pipe(d, syslogs, processor.Record[logLine]{Key: e.key, Value: logLine{At: at(e.at)}})
		} else {
			sample(d, e.key, e.at, e.cpu, nil)
		}
		if crash() {
			d.Crash()
		}
	}
	d.CloseAll()
	var got []string
	for _, r := range processortest.Read(d, alarms) {
		a := r.Value
		since, when := a.Since.Unix()-at(0).Unix(), a.At.Unix()-at(0).Unix()
		switch a.State {
		case alerting.Firing: // with the context known by then
			got = append(got, fmt.Sprintf("%s firing %v since %d at %d", a.Key, a.Value, since, when))
		case alerting.Resolved:
			got = append(got, fmt.Sprintf("%s resolved %v since %d at %d with %s", a.Key, a.Value, since, when, a.Context))
		}
	}
	return got
}

// describe is the definition, written down without states that are kept, timers or windows.
func describe(events []event, hold time.Duration) []string {
	var said []string
	for _, key := range []string{"a", "b"} {
		since, fired := -1, false
		for _, e := range events {
			if e.line || e.key != key {
				continue
			}
			switch {
			case since < 0 && e.cpu > 80:
				since = e.at
			case since >= 0 && e.cpu <= 70:
				if fired {
					said = append(said, fmt.Sprintf("%s resolved %v since %d at %d with %d", key, e.cpu, since, e.at, linesAround(events, key, since)))
				}
				since, fired = -1, false
			}
			if since >= 0 && !fired && time.Duration(e.at-since)*time.Second >= hold {
				fired = true
				said = append(said, fmt.Sprintf("%s firing %v since %d at %d", key, e.cpu, since, e.at))
			}
		}
	}
	return said
}

func linesAround(events []event, key string, since int) int {
	n := 0
	for _, e := range events {
		if e.line && e.key == key && e.at >= since-60 && e.at <= since+60 {
			n++
		}
	}
	return n
}

// text is what a store makes of bytes that are not text.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
