package processor

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

// TestMermaidTextIsInert puts everything that Mermaid gives a meaning to into a label.
func TestMermaidTextIsInert(t *testing.T) {
	entity := regexp.MustCompile(`#\w+;|<br/>`)
	for _, text := range []string{`a"b`, "`code`", "<script>", "a & b", "#quot;", "x;y", "zwei\nZeilen", "größer → 日本", `\"`} {
		got := mermaidText(text)
		require.NotContains(t, got, `"`)
		require.False(t, strings.ContainsAny(entity.ReplaceAllString(got, ""), "\"`<>&#;\\\n"), got)
	}
	require.Equal(t, "größer → 日本", mermaidText("größer → 日本"))
	require.Equal(t, "#quot;#35;", mermaidText(`"#`))
}

func TestRetryPausesDoubleUpToABound(t *testing.T) {
	p := Retry{Attempts: 100, Backoff: 3, MaxBackoff: 20}.policy()
	for n, want := range map[int]int64{1: 3, 2: 6, 3: 12, 4: 20, 5: 20, 99: 20} {
		require.EqualValues(t, want, p.pause(n), n)
	}
	zero := Retry{}.policy()
	require.NoError(t, zero.check())
	require.Equal(t, "5 attempts, then dead letter", zero.String())
}

// TestLettersWithoutARecordAreKept has no letter sent back whose record has been processed, or that is about none.
func TestLettersWithoutARecordAreKept(t *testing.T) {
	letter := func(more stream.Headers) *stream.Message {
		h := stream.Headers{DeadOperator: {"op"}, DeadAttempt: {"1"}, DeadTime: {"2020-01-01T00:00:00Z"}}
		for name, values := range more {
			h[name] = values
		}
		return &stream.Message{Offset: 1, Headers: h}
	}
	r := &redrive{last: intent{Epoch: "e"}}
	var done Redriven
	for _, m := range []*stream.Message{
		letter(nil), letter(stream.Headers{DeadTopic: {"t"}, DeadPartition: {"0"}, DeadOffset: {"7"}, DeadPartial: {"true"}}),
	} {
		o, err := r.outgoing(t.Context(), m, &done)
		require.NoError(t, err)
		require.Nil(t, o)
	}
	require.Equal(t, Redriven{Kept: 2}, done)
	_, err := r.outgoing(t.Context(), &stream.Message{Offset: 1}, &done)
	require.ErrorIs(t, err, errNoLetter)
}

// FuzzLetter reads headers that anybody may have written into the dead letter topic.
func FuzzLetter(f *testing.F) {
	f.Add("topic", "1", "2", "map", "3", "2020-01-01T00:00:00Z", "1 2 3 4")
	f.Add("", "", "", "timer", "0", "", "x")
	f.Fuzz(func(t *testing.T, topic, partition, offset, operator, attempt, at, place string) {
		m := &stream.Message{Offset: 1, Headers: stream.Headers{
			DeadTopic: {topic}, DeadPartition: {partition}, DeadOffset: {offset}, DeadOperator: {operator}, DeadAttempt: {attempt},
			DeadTime: {at}, DeadRepartitioned: {place}, "Own": {"kept"},
		}}
		r := &redrive{last: intent{Epoch: "e"}, topics: map[string]stream.TopicSpec{topic: {Name: topic, Partitions: 3}}}
		var done Redriven
		o, err := r.outgoing(t.Context(), m, &done)
		if err != nil || o == nil {
			return
		}
		require.Equal(t, topic, o.Topic.Name)
		require.Equal(t, 1, done.Sent)
		if place == "" {
			require.Equal(t, "kept", o.Headers.Get("Own"))
			require.Empty(t, o.Headers.Get(DeadOperator))
		}
	})
}
