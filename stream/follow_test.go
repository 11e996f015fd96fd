package stream_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// A follower has every entry of an owner at work, small and large, and takes over with what is missing.
func TestFollowAndTakeOver(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	owner, _ := openJournal(t, ctx, c)
	var want []string
	write := func(i int) {
		data := fmt.Append(nil, "entry ", i)
		if i%100 == 50 {
			data = append(data, make([]byte, 3<<20)...)
		}
		_, err := owner.Append(ctx, data)
		require.NoError(t, err)
		want = append(want, fmt.Sprint("entry ", i))
	}
	for i := range 100 {
		write(i)
	}
	follower, err := c.OpenJournal(ctx, "j")
	require.NoError(t, err)
	got := make(chan string, 1000)
	entry := func(e stream.Entry) error {
		got <- string(e.Data[:min(len(e.Data), len(fmt.Sprint("entry ", 100)))])
		return nil
	}
	caughtUp := make(chan int, 1)
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := follower.Follow(run, 0, stream.Follower{Entry: entry, CaughtUp: func(n int) bool { caughtUp <- n; return true }}); err != nil {
			t.Error(err)
			stop()
		}
	})
	read := 0
	readTo := func(n int) { // what it has not read must not be trimmed
		for ; read < n; read++ {
			select {
			case data := <-got:
				require.Contains(t, want[read], data[:7])
			case <-run.Done():
				require.FailNow(t, "the follower has ended")
			}
		}
	}
	readTo(80)
	require.Greater(t, <-caughtUp, 80)
	for i := range 100 {
		write(100 + i)
		if i%10 == 0 {
			readTo(101 + i)
			require.NoError(t, owner.Trim(ctx, owner.Head()))
		}
	}
	readTo(200)
	stop()
	wg.Wait()
	_, err = follower.Append(ctx, nil)
	require.ErrorIs(t, err, stream.ErrNotReplayed, "one who has only followed does not know the head")
	for i := range 10 {
		write(200 + i)
	}
	require.NoError(t, follower.Replay(ctx, entry))
	_, err = follower.Append(ctx, []byte("mine"))
	require.NoError(t, err)
	require.Len(t, got, 10, "each entry once")
	_, err = owner.Append(ctx, nil)
	require.ErrorIs(t, err, stream.ErrFenced)
}

func TestFollowAnEmptyJournal(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	j, err := newClient(t).OpenJournal(ctx, "j")
	require.NoError(t, err)
	caughtUp := false
	require.NoError(t, j.Follow(ctx, 0, stream.Follower{
		Entry:    func(stream.Entry) error { return nil },
		CaughtUp: func(int) bool { caughtUp = true; cancel(); return true },
	}))
	require.True(t, caughtUp)
}

// What the owner has trimmed before a follower came to it may be a deletion: the follower must not go on as if nothing were missing.
func TestFollowBeyondATrim(t *testing.T) {
	for _, how := range []string{"while it follows", "between following and taking over"} {
		t.Run(how, func(t *testing.T) {
			ctx := testContext(t)
			c := newClient(t)
			owner, _ := openJournal(t, ctx, c)
			write := func(n int) {
				for range n {
					_, err := owner.Append(ctx, make([]byte, 100))
					require.NoError(t, err)
				}
			}
			write(10)
			follower, err := c.OpenJournal(ctx, "j")
			require.NoError(t, err)
			run, stop := context.WithCancel(ctx)
			defer stop()
			n := 0
			err = follower.Follow(run, 0, stream.Follower{Entry: func(stream.Entry) error {
				if n++; n == 10 {
					write(5000) // more than is on its way to a reader
					require.NoError(t, owner.Trim(ctx, owner.Head()-5))

					if how != "while it follows" {
						stop()
					}
				}
				return nil
			}})
			if how != "while it follows" {
				require.NoError(t, err)
				err = follower.Replay(ctx, func(stream.Entry) error { return nil })
			}
			require.ErrorIs(t, err, stream.ErrTrimmed)
			require.ErrorContains(t, err, `journal "j"`)
			_, entries := openJournal(t, ctx, c)
			require.Len(t, entries, 6)
		})
	}
}

func TestJournalWithAHole(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	j, _ := openJournal(t, ctx, c)
	for range 5 {
		_, err := j.Append(ctx, []byte("x"))
		require.NoError(t, err)
	}
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(ctx, "j")
	require.NoError(t, err)
	require.NoError(t, s.DeleteMsg(ctx, 3))
	_, err = replay(ctx, j)
	require.ErrorContains(t, err, "message 3 is missing")
}
