package join_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

type Metric struct {
	CPU  float64   `json:"cpu"`
	Time time.Time `json:"time"`
}

type Line struct {
	Text string    `json:"text"`
	Time time.Time `json:"time"`
}

// Incident is a metric with all lines of its host that were written around it.
type Incident struct {
	CPU   float64  `json:"cpu"`
	Lines []string `json:"lines"`
}

func correlate(m Metric, lines []Line) Incident {
	incident := Incident{CPU: m.CPU}
	for _, l := range lines {
		incident.Lines = append(incident.Lines, l.Text)
	}
	return incident
}

// TestExampleIncidents is the example of the package's documentation, with time in the test's hand.
func TestExampleIncidents(t *testing.T) {
	metrics := stream.Topic[Metric]{Name: "metrics", Time: func(m Metric) time.Time { return m.Time }}
	lines := stream.Topic[Line]{Name: "lines", Time: func(l Line) time.Time { return l.Time }}
	incidents := stream.Topic[Incident]{Name: "incidents"}
	lateLines := stream.Topic[Line]{Name: "late-lines"}

	b := processor.NewBuilder("health")
	hot := processor.From(b, metrics).Filter(func(m Metric) bool { return m.CPU > 80 })
	found := join.Collect(hot, processor.From(b, lines),
		join.Window{Name: "incidents", Within: 5 * time.Minute, Grace: 30 * time.Second}, correlate)
	found.To(incidents)
	_, late := found.Late()
	late.To(lateLines)
	topology, err := b.Build()
	require.NoError(t, err)

	d := processortest.New(t, topology)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	line := func(text string, after time.Duration) {
		processortest.Pipe(d, lines, processor.Record[Line]{Key: "web-1", Value: Line{text, noon.Add(after)}})
	}
	line("disk is slow", -4*time.Minute)
	processortest.Pipe(d, metrics, processor.Record[Metric]{Key: "web-1", Value: Metric{93, noon}})
	line("out of memory", time.Minute)
	line("restarted", 5*time.Minute+30*time.Second)
	line("swapping", 4*time.Minute) // out of order, within grace
	require.Empty(t, processortest.Read(d, incidents))

	line("all is well", 6*time.Minute) // more than five and a half minutes after noon: the window has closed
	got := processortest.Read(d, incidents)
	require.Len(t, got, 1)
	require.Equal(t, Incident{93, []string{"disk is slow", "out of memory", "swapping"}}, got[0].Value)
	require.True(t, noon.Equal(got[0].Time))

	line("an hour old", -time.Hour)
	require.Len(t, processortest.Read(d, lateLines), 1)
}
