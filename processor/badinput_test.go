package processor_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

const tallyJournal = "tally-ints-0-journal"

var (
	tallied = stream.Topic[int]{Name: "ints"}
	tallies = stream.Topic[int]{Name: "tallies"}
)

// tallyOf keeps the last value of each key as a T and emits how many records a key has had.
func tallyOf[T any](t *testing.T, value func(int) T) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("tally")
	tallyFrom(processor.From(b, tallied), value)
	return build(t, b)
}

func tallyFrom[T any](source processor.Stream[int], value func(int) T) {
	processor.Process(source, "tally", func(c *processor.Context[int]) processor.Handler[int] {
		last, seen := processor.KeyValueStore[T](c, "last"), processor.KeyValueStore[int](c, "seen")
		return processor.Handler[int]{Record: func(r processor.Record[int]) error {
			n, _ := seen.Get(r.Key)
			seen.Put(r.Key, n+1)
			last.Put(r.Key, value(r.Value))
			c.Forward(processor.With(r, n+1))
			return nil
		}}
	}).To(tallies)
}

func tally(t *testing.T) *processor.Topology {
	return tallyOf(t, func(n int) int { return n })
}

// tallyWorld is a server on which the app has processed three records and ended.
func tallyWorld(t *testing.T) (*stream.Client, jetstream.JetStream) {
	t.Helper()
	nc := embeddedtest.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	moreInts(t, client, 3)
	require.NoError(t, newApp(t, client, tally(t), true).Run(t.Context()))
	requireTally(t, client, 3)
	return client, js
}

func moreInts(t *testing.T, client *stream.Client, n int) {
	t.Helper()
	for i := range n {
		produce(t, client, tallied, stream.ProducerRecord[int]{Key: "k", Value: i})
	}
}

// requireTally makes sure that the records of the key were counted once each, from 1 to n.
func requireTally(t *testing.T, client *stream.Client, n int) {
	t.Helper()
	records := all(t, client, tallies)
	require.Len(t, records, n)
	for i, r := range records {
		require.Equal(t, i+1, r.Value)
	}
}

// runTally runs the app to its end, bounded and not, which must be an error of that type, and must not have produced anything.
func runTally[E error](t *testing.T, client *stream.Client, topology *processor.Topology, says ...string) (ends []E) {
	t.Helper()
	for _, bounded := range []bool{true, false} {
		err := newApp(t, client, topology, bounded).Run(t.Context())
		var want E
		require.ErrorAs(t, err, &want)
		for _, text := range says {
			require.ErrorContains(t, err, text)
		}
		require.NotContains(t, err.Error(), "\n")
		ends = append(ends, want)
	}
	requireTally(t, client, 3)
	return ends
}

func TestCorruptJournalIsRefused(t *testing.T) {
	for name, entry := range map[string][]byte{
		"no commit at all":  []byte("this is no commit"),
		"cut off":           {1, 3, 'm', 'e'},
		"of another format": {99, 1, 2, 3},
		"empty":             {},
	} {
		t.Run(name, func(t *testing.T) {
			client, js := tallyWorld(t)
			_, err := js.Publish(t.Context(), "_rossby.journal."+tallyJournal, entry)
			require.NoError(t, err)
			runTally[*processor.StateError](t, client, tally(t), "state of task ints-0 cannot be restored from journal entry")
		})
	}
}

func TestValuesOfAnotherTypeAreRefused(t *testing.T) {
	client, _ := tallyWorld(t)
	texts := tallyOf(t, func(int) string { return "" })
	runTally[*processor.EvolutionError](t, client, texts, "tally.last: the values were number, now they are text")
	moreInts(t, client, 1)
	require.NoError(t, newApp(t, client, tally(t), true).Run(t.Context()), "the former version goes on")
	requireTally(t, client, 4)
}

// word encodes itself, and takes no numbers: what is stored shows only when it is read.
type word string

func (w word) MarshalText() ([]byte, error) { return []byte(w), nil }

func (w *word) UnmarshalText(text []byte) error {
	if *w = word(text); len(text) > 0 && text[0] == '!' {
		return errors.New("no word")
	}
	return nil
}

// TestUnreadableValueIsNamed has a journal's entry with a value that cannot be read, not the last one, in the error. The records may have been
// committed together or not: a value that a later entry replaces need not be read.
func TestUnreadableValueIsNamed(t *testing.T) {
	client, js := tallyWorld(t)
	journal, err := js.Stream(t.Context(), tallyJournal)
	require.NoError(t, err)
	entries := rawEntries(t, journal)
	words := tallyOf(t, func(int) word { return "" })
	for _, e := range runTally[*processor.StateError](t, client, words, "store tally.last", `value of key "k"`) {
		i := slices.IndexFunc(entries, func(m *jetstream.RawStreamMsg) bool { return m.Sequence == e.Entry })
		require.GreaterOrEqual(t, i, 0, "entry %d", e.Entry)
		require.Less(t, i, len(entries)-1, "it is not the last one")
		require.Contains(t, string(entries[i].Data), "tally.last")
		require.ErrorContains(t, e, fmt.Sprintf("from journal entry %d:", e.Entry))
	}
}

// lostJournal does something to the journal of the app.
type lostJournal func(ctx context.Context, js jetstream.JetStream, journal jetstream.Stream) error

func TestLostJournalIsNoNewBeginning(t *testing.T) {
	for name, c := range map[string]struct {
		lose lostJournal
		says string
	}{
		"deleted": {func(ctx context.Context, js jetstream.JetStream, _ jetstream.Stream) error {
			return js.DeleteStream(ctx, tallyJournal)
		}, "goes on at offset 1 of topic ints, which has been processed up to offset 3"},
		"deleted, with its group": {func(ctx context.Context, js jetstream.JetStream, _ jetstream.Stream) error {
			return errors.Join(js.DeleteConsumer(ctx, tallied.Spec().BackingStream(0), "tally"), js.DeleteStream(ctx, tallyJournal))
		}, "it has been processed before, and its journal is empty"},
		"deleted, with its input": {func(ctx context.Context, js jetstream.JetStream, _ jetstream.Stream) error {
			return errors.Join(js.DeleteStream(ctx, tallied.Spec().BackingStream(0)), js.DeleteStream(ctx, tallyJournal))
		}, "it has been processed before, and its journal is empty"},
		"purged": {func(ctx context.Context, _ jetstream.JetStream, journal jetstream.Stream) error {
			return journal.Purge(ctx)
		}, "all its entries have been deleted"},
		"purged, the group deleted": {func(ctx context.Context, js jetstream.JetStream, journal jetstream.Stream) error {
			if err := js.DeleteConsumer(ctx, tallied.Spec().BackingStream(0), "tally"); err != nil {
				return err
			}
			return journal.Purge(ctx)
		}, "all its entries have been deleted"},
		"cut but for its last entry": {func(ctx context.Context, _ jetstream.JetStream, journal jetstream.Stream) error {
			return journal.Purge(ctx, jetstream.WithPurgeKeep(1))
		}, "has been deleted from the head of its journal"},
		"without its first entries": {func(ctx context.Context, _ jetstream.JetStream, journal jetstream.Stream) error {
			return errors.Join(journal.DeleteMsg(ctx, 1), journal.DeleteMsg(ctx, 2))
		}, "has been deleted from the head of its journal"},
		"limited for a while": {func(ctx context.Context, js jetstream.JetStream, journal jetstream.Stream) error {
			cfg := journal.CachedInfo().Config
			limited := cfg
			limited.MaxMsgs, limited.Discard = 1, jetstream.DiscardOld
			_, err := js.UpdateStream(ctx, limited)
			if err == nil {
				_, err = js.UpdateStream(ctx, cfg)
			}
			return err
		}, "has been deleted from the head of its journal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, js := tallyWorld(t)
			journal, err := js.Stream(t.Context(), tallyJournal)
			require.NoError(t, err)
			require.NoError(t, c.lose(t.Context(), js, journal))
			runTally[*processor.StateLostError](t, client, tally(t), "the state of task ints-0 is lost", c.says, "processor.Reset")
			_, err = processor.Reset(t.Context(), client, tally(t), processor.ResetConfig{})
			require.NoError(t, err)
			require.NoError(t, newApp(t, client, tally(t), true).Run(t.Context()), "on purpose")
		})
	}
}

// TestTrimmedJournalIsWhole lets an app trim its journal and go on, by itself and in another instance.
func TestTrimmedJournalIsWhole(t *testing.T) {
	t.Parallel()
	client, js := tallyWorld(t)
	for n := 3; ; n++ {
		journal, err := js.Stream(t.Context(), tallyJournal)
		require.NoError(t, err)
		if journal.CachedInfo().State.FirstSeq > 1 {
			break
		}
		moreInts(t, client, 1)
		require.NoError(t, newApp(t, client, tally(t), true).Run(t.Context()))
		requireTally(t, client, n+1)
	}
}

// TestJournalsWithLimitsAreRefused sets limits by which the server would drop commits that are needed.
func TestJournalsWithLimitsAreRefused(t *testing.T) {
	client, js := tallyWorld(t)
	journal, err := js.Stream(t.Context(), tallyJournal)
	require.NoError(t, err)
	kept := journal.CachedInfo().Config
	for says, limit := range map[string]func(*jetstream.StreamConfig){
		"max_age of 1h0m0s":            func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max_msgs of 1000":             func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 1000, jetstream.DiscardOld },
		"max_bytes of 1000000":         func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 1_000_000, jetstream.DiscardOld },
		"max_msgs_per_subject of 1000": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1000 },
	} {
		cfg := kept
		limit(&cfg)
		_, err := js.UpdateStream(t.Context(), cfg)
		require.NoError(t, err)
		runTally[*stream.JournalError](t, client, tally(t), "the server may drop entries that are needed", says)
	}
	for _, full := range []func(*jetstream.StreamConfig){ // with these it refuses new ones
		func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		func(c *jetstream.StreamConfig) {},
	} {
		cfg := kept
		full(&cfg)
		_, err := js.UpdateStream(t.Context(), cfg)
		require.NoError(t, err)
		require.NoError(t, newApp(t, client, tally(t), true).Run(t.Context()))
	}
}

// TestOlderJournalIsRefused puts an older journal in the place of the one that there is, as a restore from a backup does: under an app that
// runs, and before it is started.
func TestOlderJournalIsRefused(t *testing.T) {
	client, js := tallyWorld(t)
	journal, err := js.Stream(t.Context(), tallyJournal)
	require.NoError(t, err)
	backup := rawEntries(t, journal)
	moreInts(t, client, 2)
	app := newApp(t, client, tally(t), false)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(t.Context()) }()
	require.Eventually(t, func() bool {
		at, err := client.CommittedAt(t.Context(), tallied.Spec(), "tally", 0)
		return err == nil && at.Next == 6
	}, time.Minute, 5*time.Millisecond)
	require.NoError(t, js.DeleteStream(t.Context(), tallyJournal))
	require.Eventually(t, func() bool { // a server that is still deleting it refuses
		_, err := js.CreateStream(t.Context(), journal.CachedInfo().Config)
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	for _, m := range backup {
		_, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		require.NoError(t, err)
	}
	moreInts(t, client, 1)
	var rewound *stream.RewoundError
	require.ErrorAs(t, <-ended, &rewound)
	var lost *processor.StateLostError
	err = newApp(t, client, tally(t), true).Run(t.Context())
	require.ErrorAs(t, err, &lost)
	require.ErrorContains(t, err, "its journal goes on at offset 4 of topic ints, which has been processed up to offset 5")
	requireTally(t, client, 5)
}

// rawEntries reads the messages of a journal.
func rawEntries(t *testing.T, journal jetstream.Stream) (all []*jetstream.RawStreamMsg) {
	t.Helper()
	info, err := journal.Info(t.Context())
	require.NoError(t, err)
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := journal.GetMsg(t.Context(), seq)
		require.NoError(t, err)
		m.Header.Del(jetstream.ExpectedLastSeqHeader)
		all = append(all, m)
	}
	return all
}

// TestClosedConnectionEndsTheApp closes the connection of an app for good, whatever it is doing: Run returns, and says why.
func TestClosedConnectionEndsTheApp(t *testing.T) {
	for name, c := range map[string]struct {
		cfg    processor.Config
		during func(t *testing.T, client *stream.Client, app *processor.App)
	}{
		"idle": {during: func(*testing.T, *stream.Client, *processor.App) {}},
		"busy": {during: func(t *testing.T, client *stream.Client, _ *processor.App) {
			for stored(t, client, tallies.Spec()) < 50 {
				moreInts(t, client, 10)
			}
			moreInts(t, client, 10)
		}},
		"paused": {during: func(t *testing.T, client *stream.Client, app *processor.App) {
			require.NoError(t, app.Pause(t.Context()))
			moreInts(t, client, 10)
		}},
		"asked": {cfg: processor.Config{Queries: true}, during: func(*testing.T, *stream.Client, *processor.App) {}},
		"following": {cfg: processor.Config{Standby: true}, during: func(t *testing.T, client *stream.Client, _ *processor.App) {
			first, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			other := processor.NewApp(client, tally(t), processor.Config{Standby: true})
			go func() { ended <- other.Run(first) }()
			t.Cleanup(func() { stop(); require.NoError(t, <-ended) })
			require.Eventually(t, func() bool { return len(other.Stats()) == 1 }, time.Minute, 5*time.Millisecond)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := newServer(t)
			nc := embeddedtest.ConnectTo(t, server)
			own, err := stream.NewClient(nc, stream.Config{})
			require.NoError(t, err)
			require.NoError(t, client.CreateTopic(t.Context(), tallies.Spec()))
			moreInts(t, client, 3)
			ended := make(chan error, 1)
			app := processor.NewApp(own, tally(t), c.cfg)
			go func() { ended <- app.Run(t.Context()) }()
			require.Eventually(t, func() bool { return stored(t, client, tallies.Spec()) == 3 }, time.Minute, 5*time.Millisecond)
			c.during(t, client, app)
			nc.Close()
			require.ErrorIs(t, <-ended, nats.ErrConnectionClosed)
		})
	}
}

// TestInputMadeAnewIsRefused deletes the input and makes it again: empty, shorter than it was, and longer, so that the position is an offset
// in it.
func TestInputMadeAnewIsRefused(t *testing.T) {
	client, js := tallyWorld(t)
	require.NoError(t, client.DeleteTopic(t.Context(), tallied.Name))
	for range 3 {
		runTally[*stream.RemadeError](t, client, tally(t), `topic "ints" partition 0 was made anew`)
		moreInts(t, client, 2)
	}
	input, err := js.Stream(t.Context(), tallied.Spec().BackingStream(0))
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(t.Context(), input.CachedInfo().Config.Name))
	require.Eventually(t, func() bool { // a server that is still deleting it refuses
		_, err := js.CreateStream(t.Context(), input.CachedInfo().Config)
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	moreInts(t, client, 6)
	runTally[*stream.RemadeError](t, client, tally(t), `topic "ints" partition 0 was made anew`)
}

// TestRepartitionTopicMadeAnewIsRefused loses a repartition topic, alone and together with the journals of its tasks.
func TestRepartitionTopicMadeAnewIsRefused(t *testing.T) {
	client := newClient(t)
	produce(t, client, bought, stream.ProducerRecord[int]{Key: "k", Value: 1})
	topology := shop(t, byKey(2))
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	require.NoError(t, client.DeleteTopic(t.Context(), "shop-by-customer"))
	var remade *stream.RemadeError
	require.ErrorAs(t, newApp(t, client, topology, true).Run(t.Context()), &remade)
	require.NoError(t, client.DeleteTopic(t.Context(), "shop-by-customer"))
	for _, journal := range []string{"shop-by-customer-0-journal", "shop-by-customer-1-journal"} {
		require.NoError(t, client.DeleteJournal(t.Context(), journal))
	}
	var lost *processor.StateLostError
	require.ErrorAs(t, newApp(t, client, topology, true).Run(t.Context()), &lost)
	_, err := processor.Reset(t.Context(), client, topology, processor.ResetConfig{})
	require.NoError(t, err)
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
}

func TestRetentionOvertakesAStoppedApp(t *testing.T) {
	client, _ := tallyWorld(t)
	moreInts(t, client, 5)
	require.NoError(t, client.Purge(t.Context(), tallied.Spec(), 0, 6))
	runTally[*stream.OffsetGoneError](t, client, tally(t), "offset 4 is gone, the oldest is 6")
}

// TestGonePolicies lets apps go on whose position is none any more: retention has overtaken it, or the topic was made anew. The state stays.
func TestGonePolicies(t *testing.T) {
	overtaken := func(t *testing.T, client *stream.Client) { // of 4 to 8 there are 6 to 8
		moreInts(t, client, 5)
		require.NoError(t, client.Purge(t.Context(), tallied.Spec(), 0, 6))
	}
	remade := func(t *testing.T, client *stream.Client) { // there are 1 to 5
		require.NoError(t, client.DeleteTopic(t.Context(), tallied.Name))
		moreInts(t, client, 5)
	}
	for name, c := range map[string]struct {
		lose   func(*testing.T, *stream.Client)
		policy processor.GonePolicy
		counts int
	}{
		"overtaken, earliest": {overtaken, processor.GoneEarliest, 3 + 3},
		"overtaken, latest":   {overtaken, processor.GoneLatest, 3},
		"remade, earliest":    {remade, processor.GoneEarliest, 3 + 5},
		"remade, latest":      {remade, processor.GoneLatest, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := tallyWorld(t)
			c.lose(t, client)
			b := processor.NewBuilder("tally")
			tallyFrom(processor.From(b, tallied).OnOffsetGone(c.policy), func(n int) int { return n })
			topology := build(t, b)
			core, logs := observer.New(zap.WarnLevel)
			for _, more := range []int{0, 2, 2} {
				moreInts(t, client, more)
				c.counts += more
				app := processor.NewApp(client, topology, processor.Config{Bounded: true, Logger: zap.New(core)})
				require.NoError(t, app.Run(t.Context()))
				requireTally(t, client, c.counts)
			}
			require.Equal(t, 1, logs.FilterMessageSnippet("records are left out").Len(), "once")
		})
	}
	b := processor.NewBuilder("tally")
	processor.From(b, tallied).OnOffsetGone(7)
	processor.From(b, tallies).Filter(func(int) bool { return true }).OnOffsetGone(processor.GoneLatest).Peek(func(processor.Record[int]) {})
	_, err := b.Build()
	require.ErrorContains(t, err, "OnOffsetGone knows no policy policy(7)")
	require.ErrorContains(t, err, "OnOffsetGone is for what From gives, not for filter")
}

// TestRetentionOvertakesARunningApp holds an app up until retention has removed what its reader has not had yet: it goes on as the policy of
// the source says.
func TestRetentionOvertakesARunningApp(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	blobs := stream.Topic[[]byte]{Name: "blobs", Codec: stream.Bytes()}
	begun, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	b := processor.NewBuilder("slow")
	processor.From(b, blobs).OnOffsetGone(processor.GoneEarliest).Peek(func(r processor.Record[[]byte]) {
		switch r.Key {
		case "first":
			close(begun)
			<-release
		case "last":
			close(done)
		}
	})
	core, logs := observer.New(zap.WarnLevel)
	app := processor.NewApp(client, build(t, b), processor.Config{Logger: zap.New(core)})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	const records = 80 // more than a reader has in hand
	require.NoError(t, client.CreateTopic(t.Context(), blobs.Spec()))
	for i := range records {
		key := "k"
		if i == 0 {
			key = "first"
		}
		require.NoError(t, client.Publish(t.Context(), []stream.Outgoing{{Topic: blobs.Spec(), Key: key, Data: make([]byte, 900<<10)}}))
		if i == 0 {
			<-begun
		}
	}
	require.NoError(t, client.Purge(t.Context(), blobs.Spec(), 0, records))
	require.NoError(t, client.Publish(t.Context(), []stream.Outgoing{{Topic: blobs.Spec(), Key: "last", Data: []byte("x")}}))
	close(release)
	<-done
	require.Equal(t, 1, logs.FilterMessageSnippet("records are left out").Len())
	stop()
	require.NoError(t, <-ended)
}

func TestInputVanishesUnderAnApp(t *testing.T) {
	client, _ := tallyWorld(t)
	ended := make(chan error, 1)
	go func() { ended <- newApp(t, client, tally(t), false).Run(t.Context()) }()
	moreInts(t, client, 1)
	require.Eventually(t, func() bool { return stored(t, client, tallies.Spec()) == 4 }, time.Minute, 5*time.Millisecond)
	require.NoError(t, client.DeleteTopic(t.Context(), tallied.Name))
	var gone *stream.TopicNotFoundError
	require.ErrorAs(t, <-ended, &gone)
	require.Equal(t, "ints", gone.Topic)
}

// TestFullServer fills the server's storage under an app that has something to commit: it waits and says so, says why when it is asked to
// stop meanwhile, and goes on when there is room.
func TestFullServer(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "server.conf")
	require.NoError(t, os.WriteFile(conf, []byte("jetstream { max_file_store: 4MB, max_memory_store: 1MB }"), 0o600))
	server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort, ConfigFile: conf})
	core, logs := observer.New(zap.WarnLevel)
	client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{Logger: zap.New(core)})
	require.NoError(t, err)
	ballast := stream.Topic[[]byte]{Name: "ballast", Codec: stream.Bytes()}
	require.NoError(t, client.CreateTopic(t.Context(), ballast.Spec()))
	begun, full := make(chan struct{}, 1), make(chan struct{})
	topology := tallyOf(t, func(n int) int {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-full
		return n
	})
	moreInts(t, client, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	app := processor.NewApp(client, topology, processor.Config{StopTimeout: 500 * time.Millisecond})
	go func() { ended <- app.Run(ctx) }()
	<-begun
	for size := 512 << 10; size > 0; size /= 8 {
		for err = nil; err == nil; {
			briefly, done := context.WithTimeout(t.Context(), 500*time.Millisecond)
			err = client.Publish(briefly, []stream.Outgoing{{Topic: ballast.Spec(), Key: "k", Data: make([]byte, size)}})
			done()
		}
	}
	close(full)
	require.Eventually(t, func() bool { return logs.FilterMessageSnippet("the server has no room").Len() > 0 }, time.Minute, 5*time.Millisecond)
	cancel()
	var noRoom *stream.StorageError
	require.ErrorAs(t, <-ended, &noRoom)
	require.Zero(t, stored(t, client, tallies.Spec()))
	require.NoError(t, client.DeleteTopic(t.Context(), ballast.Name))
	require.NoError(t, newApp(t, client, tally(t), true).Run(t.Context()))
	requireTally(t, client, 3)
}

// TestLostNoteOfTheTopology deletes the log of groups, which has the note of what has made the state. The same topology may go on, and
// notes it again; another one may not.
func TestLostNoteOfTheTopology(t *testing.T) {
	client, js := tallyWorld(t)
	require.NoError(t, js.DeleteStream(t.Context(), "_rossby-groups"))
	other := func() *processor.Topology {
		b := processor.NewBuilder("tally")
		processor.Process(processor.From(b, tallied), "another", func(c *processor.Context[int]) processor.Handler[int] {
			processor.KeyValueStore[int](c, "last")
			return processor.Handler[int]{Record: func(processor.Record[int]) error { return nil }}
		})
		return build(t, b)
	}
	runTally[*processor.NoteLostError](t, client, other(), "the note about the topology of app tally is lost", "journal tally-ints-0-journal", "processor.Reset")
	moreInts(t, client, 1)
	require.NoError(t, newApp(t, client, tally(t), true).Run(t.Context()))
	requireTally(t, client, 4)
	var refused *processor.EvolutionError
	require.ErrorAs(t, newApp(t, client, other(), true).Run(t.Context()), &refused, "the note is there again")
	require.NoError(t, client.DeleteJournal(t.Context(), tallyJournal))
	var lost *processor.StateLostError
	require.ErrorAs(t, newApp(t, client, tally(t), true).Run(t.Context()), &lost, "and says which tasks have a journal")
	_, err := processor.Reset(t.Context(), client, tally(t), processor.ResetConfig{})
	require.NoError(t, err)
	require.NoError(t, newApp(t, client, other(), true).Run(t.Context()))
}

// TestServerLosesItsData replaces a server under a running app by an empty one.
func TestServerLosesItsData(t *testing.T) {
	dir := t.TempDir()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(dir, "a"), Port: embedded.RandomPort})
	require.NoError(t, err)
	nc, err := nats.Connect(server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	defer nc.Close()
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	moreInts(t, client, 3)
	ended := make(chan error, 1)
	app := processor.NewApp(client, tally(t), processor.Config{})
	go func() { ended <- app.Run(t.Context()) }()
	require.Eventually(t, func() bool {
		offsets, err := client.Offsets(t.Context(), tallies.Spec())
		return err == nil && offsets[0].Records == 3
	}, time.Minute, 5*time.Millisecond)
	at, err := url.Parse(server.URL())
	require.NoError(t, err)
	port, err := strconv.Atoi(at.Port())
	require.NoError(t, err)
	require.NoError(t, server.Stop())
	server, err = embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(dir, "b"), Port: port})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Stop()) }()
	var gone *stream.TopicNotFoundError
	var groups *stream.GroupsGoneError
	if err := <-ended; !errors.As(err, &groups) { // whichever is noticed first
		require.ErrorAs(t, err, &gone)
	}
	_, err = client.DescribeTopic(t.Context(), tallied.Name)
	require.ErrorAs(t, err, &gone, "the app has not begun anew by itself")
}

// TestOutboxOfAFormerSinkIsDelivered has an app die between a commit and its delivery, and goes on with a topology without the sink.
func TestOutboxOfAFormerSinkIsDelivered(t *testing.T) {
	client, js := tallyWorld(t)
	running, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	core, logs := observer.New(zap.DebugLevel)
	app := processor.NewApp(client, tally(t), processor.Config{Logger: zap.New(core)})
	go func() { ended <- app.Run(running) }()
	require.Eventually(t, func() bool { return logs.FilterMessage("took over").Len() == 1 }, time.Minute, 5*time.Millisecond)
	require.NoError(t, js.DeleteStream(t.Context(), tallies.Spec().BackingStream(0)))
	moreInts(t, client, 1)
	var gone *stream.TopicNotFoundError
	require.ErrorAs(t, <-ended, &gone)
	without := func() *processor.Topology {
		b := processor.NewBuilder("tally")
		processor.Process(processor.From(b, tallied), "tally", func(c *processor.Context[int]) processor.Handler[int] {
			processor.KeyValueStore[int](c, "last")
			processor.KeyValueStore[int](c, "seen")
			return processor.Handler[int]{Record: func(processor.Record[int]) error { return nil }}
		})
		return build(t, b)
	}
	err := newApp(t, client, without(), true).Run(t.Context())
	require.ErrorAs(t, err, &gone)
	require.ErrorContains(t, err, "bring the sink back")
	require.NoError(t, client.CreateTopic(t.Context(), tallies.Spec()))
	for range 2 {
		require.NoError(t, newApp(t, client, without(), true).Run(t.Context()))
		records := all(t, client, tallies)
		require.Len(t, records, 1)
		require.Equal(t, 4, records[0].Value)
	}
}
