package processor_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

var lengths = stream.Topic[int]{Name: "lengths", Partitions: 4}

// wordCountToo is wordCount with one operator more and, with state, one more store and one more sub-topology.
func wordCountToo(state bool) func(*testing.T) *processor.Topology {
	return func(t *testing.T) *processor.Topology {
		t.Helper()
		b := processor.NewBuilder("wordcount")
		text := processor.Map(processor.From(b, lines).Filter(func(line) bool { return true }), func(l line) string { return l.Text })
		words := processor.FlatMap(text, strings.Fields)
		word := processor.KeyBy(words, "by-word", func(w string) string { return w })
		processor.Process(word, "count", countWords).To(counts)
		if state {
			processor.Process(word, "seen", countLengths)
			length := processor.KeyBy(words, "by-length", func(w string) string { return w[:1] })
			processor.Process(length, "lengths", countLengths).To(lengths)
		}
		topology, err := b.Build()
		require.NoError(t, err)
		return topology
	}
}

func countLengths(c *processor.Context[int]) processor.Handler[string] {
	seen := processor.KeyValueStore[int](c, "seen")
	return processor.Handler[string]{Record: func(r processor.Record[string]) error {
		n, _ := seen.Get(r.Key)
		seen.Put(r.Key, n+1)
		c.Forward(processor.With(r, n+1))
		return nil
	}}
}

// patient is a session that no instance loses that is only slow: newer ones must not take older ones for gone.
const patient = 20 * time.Second

// TestRollingUpgrade restarts three instances one after another with another topology, while records come in: without more state they
// share the tasks at once, with more state the newer ones wait for the older ones to go. Every line is counted once.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		next   func(*testing.T) *processor.Topology
		static bool
	}{
		"no more state":          {wordCountToo(false), false},
		"more state":             {wordCountToo(true), false},
		"more state, names kept": {wordCountToo(true), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := newServer(t)
			require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
			const n = 8_000
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range 20 {
					produce(t, client, lines, textLines(n)[i*n/20:(i+1)*n/20]...)
					<-time.After(150 * time.Millisecond) // so that every restart meets some
				}
			})
			config := func(i int) processor.Config {
				cfg := processor.Config{SessionTimeout: patient}
				if c.static {
					cfg.Instance = string(rune('a' + i))
				}
				return cfg
			}
			alive := make([]*running, 3)
			for i := range alive {
				alive[i] = startInstance(t, server, wordCount(t), config(i))
			}
			for i := range alive {
				require.Eventually(t, func() bool { return alive[i].tasks() > 0 }, time.Minute, time.Millisecond)
			}
			for i := range alive {
				alive[i].leave(t)
				alive[i] = startInstance(t, server, c.next(t), config(i))
				waits := func() bool { return alive[i].logs.FilterMessageSnippet("waits until").Len() > 0 }
				if name == "no more state" {
					require.Eventually(t, func() bool { return alive[i].tasks() > 0 }, time.Minute, time.Millisecond)
				} else if i == 0 {
					require.Eventually(t, waits, time.Minute, time.Millisecond)
				}
			}
			for i := range alive {
				require.Eventually(t, func() bool { return alive[i].tasks() > 0 }, time.Minute, time.Millisecond, "everybody works in the end")
			}
			wg.Wait()
			var refused *processor.EvolutionError
			if name != "no more state" {
				require.ErrorAs(t, newApp(t, client, wordCount(t), false).Run(t.Context()), &refused, "there is no way back")
			}
			for i := range alive {
				alive[i].leave(t)
			}
			require.NoError(t, newApp(t, client, c.next(t), true).Run(t.Context()))
			checkCounts(t, client, n)
		})
	}
}

// TestUpgradeMayBeGivenUp starts one instance of a topology with more state beside an older one, and takes it back: as long as an older
// one has been there all the time, the state is still theirs.
func TestUpgradeMayBeGivenUp(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	produce(t, client, lines, textLines(2000)...)
	a := startInstance(t, server, wordCount(t), processor.Config{SessionTimeout: patient})
	require.Eventually(t, func() bool { return a.tasks() == 8 }, time.Minute, time.Millisecond)
	newer := startInstance(t, server, wordCountToo(true)(t), processor.Config{SessionTimeout: patient})
	require.Eventually(t, func() bool { return newer.logs.FilterMessage("follows the task's owner").Len() == 8 }, time.Minute, time.Millisecond,
		"it has copies of what will be its own")
	require.Zero(t, newer.tasks())
	b := startInstance(t, server, wordCount(t), processor.Config{SessionTimeout: patient})
	require.Eventually(t, func() bool { return b.tasks() == 4 }, time.Minute, time.Millisecond, "older ones still come")
	newer.leave(t)
	a.leave(t)
	b.leave(t)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, 2000)
}
