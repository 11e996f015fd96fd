package processor_test

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// inventory lists every stream, consumer and bucket of the account, with how many messages each stream has.
func inventory(t *testing.T, nc *nats.Conn) map[string]uint64 {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	found := make(map[string]uint64)
	streams := js.ListStreams(t.Context())
	for s := range streams.Info() {
		found[s.Config.Name] = s.State.Msgs
		handle, err := js.Stream(t.Context(), s.Config.Name)
		require.NoError(t, err)
		consumers := handle.ListConsumers(t.Context())
		for c := range consumers.Info() {
			found[s.Config.Name+" "+c.Name] = 0
		}
		require.NoError(t, consumers.Err())
	}
	require.NoError(t, streams.Err())
	return found
}

// TestReset runs an app, resets it and runs it again: nothing is left of it in between but what it has written to the user's topics, and
// then it does all again. Whoever else uses the server notices nothing.
func TestReset(t *testing.T) {
	server, client := newServer(t)
	const n = 1000
	produce(t, client, lines, textLines(n)...)
	require.NoError(t, client.CreateTopic(t.Context(), counts.Spec()))
	require.NoError(t, client.CreateTopic(t.Context(), wordCount(t).DeadLetterTopic().Spec()))
	others, err := client.Join(t.Context(), stream.MembershipConfig{
		Name: "app.wordcount2", Member: "somebody", Items: []string{"lines-0"}, SessionTimeout: time.Minute,
		Assigned: func([]stream.Claim) {}, Revoke: func([]string) {}, Lost: func([]string) {}, Failed: func(error) {},
	})
	require.NoError(t, err)
	defer others.Leave(t.Context())
	_, err = client.OpenJournal(t.Context(), "wordcount-other-0-journal")
	require.NoError(t, err)
	require.NoError(t, client.StoreOffset(t.Context(), lines.Spec(), "other", 0, 3))
	nc, err := server.Connect()
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "mine"})
	require.NoError(t, err)
	before := inventory(t, nc)

	run := func(times int) {
		first := startInstance(t, server, wordCount(t), processor.Config{Instance: "first", SessionTimeout: 300 * time.Millisecond})
		second := startInstance(t, server, wordCount(t), processor.Config{Standby: false})
		require.Eventually(t, func() bool { return ends(t, client, counts.Spec()) == uint64(times)*3*n }, time.Minute, 5*time.Millisecond)
		require.Eventually(t, func() bool { // until the second one has joined, too
			found, err := processor.Reset(t.Context(), client, wordCount(t), processor.ResetConfig{})
			var active *processor.ActiveError
			require.ErrorAs(t, err, &active)
			require.ErrorIs(t, err, processor.ErrActive)
			require.Contains(t, active.Instances, "first")
			require.ErrorContains(t, err, "nothing was deleted")
			require.Empty(t, found)
			return len(active.Instances) == 2
		}, time.Minute, 5*time.Millisecond)
		first.leave(t)
		second.leave(t)
	}
	run(1)
	want := processor.Belongings{Topics: []string{"wordcount-by-word"}, Groups: []string{"lines"}}
	for _, sub := range []string{"by-word", "lines"} {
		for _, p := range []string{"0", "1", "2", "3"} {
			want.Journals = append(want.Journals, "wordcount-"+sub+"-"+p+"-journal")
		}
	}
	after := inventory(t, nc)
	dry, err := processor.Reset(t.Context(), client, wordCount(t), processor.ResetConfig{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, want, dry)
	require.ElementsMatch(t, slices.Collect(maps.Keys(after)), slices.Collect(maps.Keys(inventory(t, nc))), "a dry run deletes nothing")

	reset := func() {
		require.Eventually(t, func() bool { // the static name is remembered for a while
			done, err := processor.Reset(t.Context(), client, wordCount(t), processor.ResetConfig{})
			if err == nil {
				require.Equal(t, want, done)
			} else {
				require.ErrorIs(t, err, processor.ErrActive)
			}
			return err == nil
		}, time.Minute, 50*time.Millisecond)
		var after map[string]uint64
		require.Eventually(t, func() bool { // the consumers of this test's readers go a moment after them
			after = inventory(t, nc)
			return len(after) == len(before)
		}, time.Minute, 10*time.Millisecond)
		for p := range 4 {
			name := counts.Spec().BackingStream(p)
			require.Greater(t, after[name], before[name])
			after[name] = before[name]
		}
		require.Equal(t, before, after)
	}
	reset()
	run(2) // within the duplicate window of the topic of results: they have other ids
	reset()
	nothing, err := processor.Reset(t.Context(), client, wordCount(t), processor.ResetConfig{})
	require.NoError(t, err)
	require.Empty(t, nothing)
}

// TestResetDeadLetters deletes the topic of dead letters if it is told to, and if it is the app's own.
func TestResetDeadLetters(t *testing.T) {
	client := newClient(t)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	own := wordCount(t).DeadLetterTopic().Name
	exists := func(name string) bool {
		_, err := client.DescribeTopic(t.Context(), name)
		return err == nil
	}
	require.True(t, exists(own))
	_, err := processor.Redrive(t.Context(), client, wordCount(t).DeadLetterTopic(), processor.RedriveConfig{})
	require.NoError(t, err)
	_, err = processor.Reset(t.Context(), client, wordCount(t), processor.ResetConfig{})
	require.NoError(t, err)
	require.True(t, exists(own))
	gone, err := processor.Reset(t.Context(), client, wordCount(t), processor.ResetConfig{DeadLetters: true})
	require.NoError(t, err)
	require.Equal(t, processor.Belongings{Topics: []string{own}, Journals: []string{own + "-redrive-redrive"}}, gone)
	require.False(t, exists(own))
}

// TestResetLeavesBoundedRunsAlone resets an app with state on disk while it runs over a bounded input, and after it: it refuses, and then nothing is
// left on the server or in the folder of its state.
func TestResetLeavesBoundedRunsAlone(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	nc, err := server.Connect()
	require.NoError(t, err)
	defer nc.Close()
	produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1})
	produce(t, client, counts)
	at, release := make(chan struct{}), make(chan struct{})
	b := processor.NewBuilder("bounded")
	b.KeepState(processor.OnDisk)
	held := processor.Map(processor.From(b, ints), func(n int) int { at <- struct{}{}; <-release; return n })
	processor.Map(processor.Count(held, processor.Counting{Name: "count"}), func(n int64) int { return int(n) }).To(counts)
	topology := build(t, b)
	require.NoError(t, client.CreateTopic(t.Context(), topology.DeadLetterTopic().Spec()))
	_, err = client.Join(t.Context(), stream.MembershipConfig{ // makes the log of all groups
		Name: "others", Assigned: func([]stream.Claim) {}, Revoke: func([]string) {}, Lost: func([]string) {}, Failed: func(error) {}, SessionTimeout: time.Minute,
	})
	require.NoError(t, err)
	before := inventory(t, nc)

	dir := filepath.Join(t.TempDir(), "state")
	ended := make(chan error, 1)
	app := processor.NewApp(client, topology, processor.Config{Bounded: true, StateDir: dir})
	go func() { ended <- app.Run(t.Context()) }()
	<-at
	cfg := processor.ResetConfig{StateDir: dir}
	var active *processor.ActiveError
	_, err = processor.Reset(t.Context(), client, topology, cfg)
	require.ErrorAs(t, err, &active)
	require.Len(t, active.Instances, 1)
	require.ErrorContains(t, err, "nothing was deleted")
	close(release)
	require.NoError(t, <-ended)
	require.NotEmpty(t, slices.Collect(maps.Keys(inventory(t, nc))))
	require.DirExists(t, dir)

	found, err := processor.Reset(t.Context(), client, topology, cfg)
	require.NoError(t, err)
	require.Equal(t, dir, found.StateDir)
	require.NoDirExists(t, dir)
	name := counts.Spec().BackingStream(stream.Partition("k", 4))
	require.Eventually(t, func() bool { // the consumers of readers go a moment after them
		after := inventory(t, nc)
		after[name] = before[name]
		return maps.Equal(before, after)
	}, 30*time.Second, 10*time.Millisecond, "%v", before)
}
