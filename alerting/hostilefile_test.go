package alerting_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/rulesfile"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// hostileRecord is a sample with what rules can fail on.
type hostileRecord struct {
	Sample weekSample    `json:"metric"`
	Lines  []hostileLine `json:"logs"`
	Tries  int           `json:"tries"`
	Near   *weekSample   `json:"near"`
}

type hostileLine struct {
	Text string `json:"message"`
}

// TestHostileRulesDoNotStopThePipeline: rules that fail for every record, and the dearest that are allowed, run beside one that is right, whose
// alarm comes all the same. A record that a rule fails for is a dead letter by default, and none where the rule says what it means.
func TestHostileRulesDoNotStopThePipeline(t *testing.T) {
	dear := "any(logs, .message matches '(a|aa)+$')" + strings.Repeat(" || any(logs, .message matches '(a*)*b')", 7)
	f, err := rulesfile.Parse([]byte(`{"rules":[
		{"name":"Index","if":"logs[999].message == 'x'","on_error":"ok"},
		{"name":"Nil","if":"near.value > 1","on_error":"ok"},
		{"name":"Modulo","if":"tries % (tries - tries) == 1","on_error":"ok"},
		{"name":"NotANumber","value":"metric.value / 0 - metric.value / 0","above":1,"on_error":"ok"},
		{"name":"Dear","if":`+strconv.Quote(dear)+`},
		{"name":"Right","metric":"cpu","above":80}]}`), rulesfile.Model[hostileRecord]{
		Series: func(r hostileRecord) string { return r.Sample.Name }, Value: func(r hostileRecord) float64 { return r.Sample.Value },
	})
	require.NoError(t, err)
	in := stream.Topic[hostileRecord]{Name: "hostile", Time: func(r hostileRecord) time.Time { return r.Sample.Time }}
	out := stream.Topic[alerting.Alarm]{Name: "alarms"}
	b := processor.NewBuilder("hostile")
	records := processor.From(b, in)
	for _, rule := range f.Rules {
		alerting.Threshold(records, rule).To(out)
	}
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	long := []hostileLine{{strings.Repeat("a", 64<<10) + "!"}}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 3 {
		sample := weekSample{Host: "web1", Name: "cpu", Value: 91, Time: start.Add(time.Duration(i) * time.Minute)}
		processortest.Pipe(d, in, processor.Record[hostileRecord]{Key: "web1", Value: hostileRecord{Sample: sample, Lines: long}})
	}
	require.NoError(t, d.Err())
	require.Empty(t, d.DeadLetters())
	var fired []string
	for _, r := range processortest.Read(d, out) {
		fired = append(fired, r.Value.Rule)
	}
	require.Equal(t, []string{"Right"}, fired)
}
