package join_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
)

func TestAFullJoinRefusesAndSaysSo(t *testing.T) {
	for _, v := range []verb{inner, leftOnClose, outerOnUpdate, collectOnClose, asOf, absence} {
		w := join.Window{Before: millis(10), Grace: millis(10), MaxRows: 2}
		s := newBench(t, v, w, 1)
		s.left("k", "one", 50)
		s.right("k", "two", 50)
		s.Crash()
		s.got()
		s.right("k", "three", 50)
		require.Empty(t, s.got(), "it is not joined")
		letters := s.DeadLetters()
		require.Len(t, letters, 1)
		require.Equal(t, "three", string(letters[0].Value))
		require.Contains(t, fmt.Sprint(letters[0].Headers), "the join is full: it keeps 2 records of this partition: redrive the record")
		s.left("k", "late", 1)
		require.Len(t, s.DeadLetters(), 0, "a late record needs no room")
		require.Equal(t, []string{"late@1"}, s.late())
		s.left("k", "four", 100) // time has moved on and made room
		s.right("k", "five", 100)
		require.Empty(t, s.DeadLetters())
	}
}

// TestAFullJoinRefusesTheSameAfterACrash: which records a full join refuses is a matter of the records and not of crashes.
func TestAFullJoinRefusesTheSameAfterACrash(t *testing.T) {
	t.Parallel()
	refused := 0
	rapid.Check(t, func(rt *rapid.T) {
		m, history := drawRules(rt, rapid.SampledFrom([]verb{inner, collectOnClose, outerOnClose}).Draw(rt, "verb")), drawHistory(rt)
		w := m.window()
		w.MaxRows = rapid.IntRange(1, 6).Draw(rt, "rows")
		run := func(crash bool) (results, letters []string) {
			s := newBench(t, m.verb, w, m.partitions)
			for _, e := range history {
				switch e.kind {
				case "left":
					s.left(e.key, e.value, e.time)
				case "right":
					s.right(e.key, e.value, e.time)
				case "idle":
					s.AdvanceTime(at(e.time))
				case "crash":
					if crash {
						s.Crash()
					}
				}
			}
			s.CloseAll()
			for _, l := range s.DeadLetters() {
				letters = append(letters, string(l.Value))
			}
			return s.shown(), letters
		}
		results, letters := run(false)
		again, lettersAgain := run(true)
		require.Equal(rt, results, again)
		require.Equal(rt, letters, lettersAgain)
		refused += len(letters)
	})
	require.NotZero(t, refused)
}

// TestAFullJoinUnderStop shows ErrFull in the error of Run, and the rows in StoreStats.
func TestAFullJoinUnderStop(t *testing.T) {
	client := newClient(t)
	b := processor.NewBuilder("app")
	out := join.Inner(processor.From(b, sides[0]), processor.From(b, sides[1]), join.Window{Name: "w", Within: time.Hour, MaxRows: 3}, pair)
	out.OnFailure(processor.Stop)
	out.To(sink)
	topology, err := b.Build()
	require.NoError(t, err)
	app := processor.NewApp(client, topology, processor.Config{})
	require.Empty(t, app.StoreStats())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	sendAll(t, client, sides[0], []string{"k", "k"})
	sendAll(t, client, sides[1], []string{"k"})
	require.Eventually(t, func() bool {
		rows := map[string]int{}
		for _, s := range app.StoreStats() {
			if s.SubTopology == "left" && s.Partition == 0 && s.Bytes > 0 {
				rows[s.Operator+" "+s.Store] = s.Rows
			}
		}
		return rows["w left"] == 2 && rows["w right"] == 1
	}, time.Minute, 10*time.Millisecond)
	sendAll(t, client, sides[1], []string{"k"})
	select {
	case err := <-ended:
		require.ErrorIs(t, err, join.ErrFull)
	case <-time.After(time.Minute):
		stop()
		require.NoError(t, errors.Join(errors.New("a full join goes on"), <-ended))
	}
}
