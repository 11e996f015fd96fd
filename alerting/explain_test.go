package alerting_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// gauge is a sample of a disk.
type gauge struct {
	Disk   string
	Series string
	Value  float64
	At     time.Time
}

// TestExplainKinds: rules of every kind say where their alarms are, from another process's point of view.
func TestExplainKinds(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{Storage: stream.Memory})
	require.NoError(t, err)
	readings := stream.Topic[gauge]{Name: "readings", Partitions: 3, Time: func(r gauge) time.Time { return r.At }}
	out := stream.Topic[alerting.Alarm]{Name: "out", Time: func(a alerting.Alarm) time.Time { return a.At }}
	edits := alerting.RuleChanges("edits", 3)
	for _, spec := range []stream.TopicSpec{readings.Spec(), out.Spec(), edits.Spec()} {
		require.NoError(t, client.CreateTopic(t.Context(), spec))
	}
	of := func(series string) func(gauge) bool { return func(r gauge) bool { return r.Series == series } }
	value := func(r gauge) float64 { return r.Value }
	disks := alerting.Rule[gauge]{
		Name: "Disks", Select: of("disk"), Value: value, By: func(r gauge) map[string]string { return map[string]string{"disk": r.Disk} },
		Levels: []alerting.Level[gauge]{{Severity: "warning", When: alerting.Above(80)}, {Severity: "critical", When: alerting.Above(90)}},
	}
	timed := alerting.Rule[gauge]{
		Name: "Timed", Select: of("temp"), Value: value, When: alerting.Below(10), Every: 10 * time.Second, For: time.Minute, KeepFiringFor: time.Minute,
	}
	absent := alerting.Rule[gauge]{Name: "Absent", Select: of("beat"), Lookback: time.Minute, OnNoData: alerting.OwnAlarm}
	ratio := alerting.Rule[gauge]{
		Name: "Ratio", Series: func(r gauge) string { return r.Series }, Value: value, Combine: alerting.Ratio("used", "all"),
		When: alerting.Above(0.9), Every: 10 * time.Second,
	}
	broken := false
	read := func(name, text string) (alerting.Loaded[gauge], error) {
		l, err := reader(&broken)(name, text)
		r := alerting.Rule[gauge]{Name: l.Rule.Name, Value: value, When: l.Rule.When, MaxDuration: l.Rule.MaxDuration}
		return alerting.Loaded[gauge]{Rule: r}, err
	}
	live := alerting.Live[gauge]{Name: "live", Read: read}
	b := processor.NewBuilder("app")
	in := processor.From(b, readings)
	for _, rule := range []alerting.Rule[gauge]{disks, timed, absent, ratio} {
		alerting.Threshold(in, rule).To(out)
	}
	live.Changes = processor.From(b, edits)
	alerting.ThresholdLive(in, live).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- processor.NewApp(client, topology, processor.Config{Queries: true}).Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-done)
	}()
	producer, err := stream.NewProducer(client, readings, stream.ProducerConfig{})
	require.NoError(t, err)
	defer func() { require.NoError(t, producer.Close(context.WithoutCancel(ctx))) }()
	send := func(series string, seconds int, v float64, disk string) {
		r := gauge{Disk: disk, Series: series, Value: v, At: at(seconds)}
		require.NoError(t, producer.Send(ctx, stream.ProducerRecord[gauge]{Key: "h", Value: r}))
		require.NoError(t, producer.Flush(ctx))
	}
	eventually := func(ask func() []alerting.Explanation, want ...string) (list []alerting.Explanation) {
		t.Helper()
		var got []string
		require.Eventually(t, func() bool {
			list, got = ask(), nil
			for _, e := range list {
				got = append(got, e.String())
			}
			return len(got) == len(want) && slices.Equal(want, got)
		}, 20*time.Second, 10*time.Millisecond, "want %q, got %q", want, &got)
		return list
	}
	explain := func(rule alerting.Rule[gauge]) func() []alerting.Explanation {
		return func() []alerting.Explanation {
			list, err := rule.Explain(ctx, client, topology, "h")
			require.NoError(t, err)
			return list
		}
	}
	stamp := func(seconds int) string { return at(seconds).UTC().Format(time.RFC3339) }

	eventually(explain(disks), `rule Disks, key "h": ok: there is no breach: what was judged last was none, or nothing has come; a value above 80 is one`)
	send("disk", 0, 85, "a")
	send("disk", 0, 95, "b")
	send("disk", 0, 5, "c")
	list := eventually(explain(disks),
		`rule Disks, key "h", disk="a": firing (warning) since `+stamp(0)+`, value 85: a value above 80`,
		`rule Disks, key "h", disk="b": firing (critical) since `+stamp(0)+`, value 95: a value above 90`)
	alarm := alerting.Alarm{Rule: "Disks", Key: "h", Labels: map[string]string{"disk": "b"}}
	require.Equal(t, alarm.Fingerprint(), list[1].Fingerprint)

	send("temp", 1, 20, "")
	eventually(explain(timed), `rule Timed, key "h": ok, value 20 at `+stamp(1)+`: the value is no breach: a value below 10 is one`)
	send("temp", 15, 5, "")
	send("disk", 31, 1, "c")
	eventually(explain(timed), `rule Timed, key "h": pending since `+stamp(20)+`, value 5 at `+stamp(15)+`: a value below 10; it must last for 1m0s: it fires at `+stamp(80)+` at the earliest`)
	send("disk", 85, 1, "c")
	eventually(explain(timed), `rule Timed, key "h": firing since `+stamp(20)+`, value 5 at `+stamp(15)+`: a value below 10`)
	send("temp", 86, 50, "")
	send("disk", 95, 1, "c")
	eventually(explain(timed), `rule Timed, key "h": recovering since `+stamp(20)+`, value 50 at `+stamp(86)+
		`: the breach is over since `+stamp(90)+`; it keeps firing for 1m0s: it is resolved at `+stamp(150)+` at the earliest`)

	send("used", 96, 95, "")
	send("all", 96, 100, "")
	send("disk", 101, 1, "c")
	eventually(explain(ratio), `rule Ratio, key "h": firing since `+stamp(100)+`, value 0.95 at `+stamp(101)+`: a value above 0.9`)
	send("beat", 102, 1, "")
	send("disk", 170, 1, "c")
	eventually(explain(absent), `rule Absent, key "h": nodata since `+stamp(162)+`: nothing has come for it lately`)

	liveExplain := func() []alerting.Explanation {
		list, err := live.Explain(ctx, client, topology, "Live", "h")
		require.NoError(t, err)
		return list
	}
	eventually(liveExplain)
	text := `{"Above":50,"Max":3600}`
	change := alerting.RuleChange{Name: "Live", Version: alerting.Version{Epoch: 1, Revision: 1}, Text: text}
	for p := range 3 {
		record := stream.Outgoing{Topic: edits.Spec(), Partition: p, Key: "Live", Data: encoded(t, edits, change), ID: "e" + string(rune('0'+p))}
		require.NoError(t, client.Publish(ctx, []stream.Outgoing{record}))
	}
	eventually(liveExplain, `rule Live, key "h": ok: there is no breach: what was judged last was none, or nothing has come; a value above 50 is one`)
	send("other", 171, 60, "")
	eventually(liveExplain, `rule Live, key "h": firing since `+stamp(171)+`, value 60: a value above 50; it is ended at `+stamp(171+3600))
	_, err = alerting.Rule[gauge]{Name: "Nobody", Value: value, When: alerting.Above(1)}.Explain(ctx, client, topology, "h")
	require.ErrorIs(t, err, processor.ErrNoStore)
}

func encoded[V any](t *testing.T, topic stream.Topic[V], v V) []byte {
	codec := topic.Codec
	if codec == nil {
		codec = stream.JSON[V]()
	}
	data, err := codec.Encode(v)
	require.NoError(t, err)
	return data
}
