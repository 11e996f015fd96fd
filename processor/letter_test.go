package processor

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
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
	r := &redrive{state: redriveState{Epoch: "e"}}
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
		r := &redrive{state: redriveState{Epoch: "e"}, topics: map[string]stream.TopicSpec{topic: {Name: topic, Partitions: 3}}}
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

// TestRedriveKnowsWhatItHasSent begins where another Redrive was killed, after it had sent some of what it had noted, and the server
// has forgotten the ids of that. Meanwhile letters have come to a partition before.
func TestRedriveKnowsWhatItHasSent(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	const window = 100 * time.Millisecond
	in := stream.Topic[string]{Name: "in", DuplicateWindow: window}.Spec()
	letters := stream.Topic[[]byte]{Name: "graveyard", Partitions: 2}
	require.NoError(t, client.CreateTopic(t.Context(), in))
	require.NoError(t, client.CreateTopic(t.Context(), letters.Spec()))
	bury := func(partition int, values ...string) {
		out := make([]stream.Outgoing, len(values))
		for i, v := range values {
			out[i] = stream.Outgoing{Topic: letters.Spec(), Partition: partition, Key: v, Data: []byte(v), Headers: stream.Headers{
				DeadTopic: {"in"}, DeadPartition: {"0"}, DeadOffset: {"1"}, DeadOperator: {"op"}, DeadAttempt: {"1"}, DeadTime: {"2020-01-01T00:00:00Z"},
			}}
		}
		require.NoError(t, client.Publish(t.Context(), out))
	}
	bury(1, "a", "b", "c", "d")
	killed := &redrive{client: client, letters: letters.Spec(), cfg: RedriveConfig{Group: "redrive"}}
	extents, err := client.Offsets(t.Context(), killed.letters)
	require.NoError(t, err)
	require.NoError(t, killed.open(t.Context(), extents))
	killed.state.Partition, killed.state.To = 1, 4
	require.NoError(t, killed.note(t.Context()))
	for i, v := range []string{"a", "b"} {
		require.NoError(t, client.Publish(t.Context(), []stream.Outgoing{{
			Topic: in, Key: v, Data: []byte(v), ID: killed.id(1, uint64(i+1)),
		}}))
	}
	<-time.After(2 * window) // the server's memory is what this test is about
	bury(0, "e")
	done, err := Redrive(t.Context(), client, letters, RedriveConfig{Limit: 4})
	require.NoError(t, err)
	require.Equal(t, 4, done.Sent)
	require.ErrorIs(t, killed.note(t.Context()), stream.ErrFenced, "it was not dead, only slow")
	done, err = Redrive(t.Context(), client, letters, RedriveConfig{})
	require.NoError(t, err)
	require.Equal(t, 1, done.Sent)
	got := map[string]int{}
	for _, v := range []string{"a", "b", "c", "d", "e"} {
		got[v] = 0
	}
	reader := stream.ReaderConfig{From: 1}
	arrived := make(chan string, 100)
	reader.Deliver = func(m stream.Message) { arrived <- string(m.Data) }
	in0, err := client.OpenReader(t.Context(), in, 0, reader)
	require.NoError(t, err)
	defer in0.Close()
	require.Eventually(t, func() bool {
		ok, err := in0.CaughtUp(t.Context())
		return err == nil && ok
	}, 30*time.Second, time.Millisecond)
	for len(arrived) > 0 {
		got[<-arrived]++
	}
	require.Equal(t, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, got)
	committed, err := client.Committed(t.Context(), letters.Spec(), "redrive")
	require.NoError(t, err)
	require.Zero(t, committed[0].Lag+committed[1].Lag, "the group shows it")
}

// TestRedriveOfATopicMadeAnew deletes what the journal speaks of: positions of other letters must not count.
func TestRedriveOfATopicMadeAnew(t *testing.T) {
	state := redriveState{Version: redriveVersion, Epoch: "e", Next: []uint64{5, 9}, Partition: 1, To: 12}
	extents := func(a, b uint64) []stream.PartitionOffsets {
		return []stream.PartitionOffsets{{Partition: 0, Next: a}, {Partition: 1, Next: b}}
	}
	require.True(t, state.fits(extents(5, 12)))
	for _, other := range [][]stream.PartitionOffsets{extents(4, 12), extents(5, 11), extents(1, 1), extents(9, 99)[:1]} {
		require.False(t, state.fits(other))
	}
}
