package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

func openJournal(t require.TestingT, ctx context.Context, c *stream.Client) (*stream.Journal, []stream.Entry) {
	j, err := c.OpenJournal(ctx, "j")
	require.NoError(t, err)
	entries, err := replay(ctx, j)
	require.NoError(t, err)
	return j, entries
}

func replay(ctx context.Context, j *stream.Journal) ([]stream.Entry, error) {
	var entries []stream.Entry
	err := j.Replay(ctx, func(e stream.Entry) error {
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

func TestJournalAppendAndReplay(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	j, entries := openJournal(t, ctx, c)
	require.Empty(t, entries)
	require.Zero(t, j.Head())
	for i := range 1000 {
		e, err := j.Append(ctx, fmt.Append(nil, "entry ", i))
		require.NoError(t, err)
		require.EqualValues(t, i+1, e.Seq)
		require.EqualValues(t, i+1, j.Head())
	}
	require.NoError(t, j.Verify(ctx))
	j, entries = openJournal(t, ctx, c)
	require.Len(t, entries, 1000)
	for i, e := range entries {
		require.Equal(t, fmt.Sprint("entry ", i), string(e.Data))
		require.EqualValues(t, i+1, e.Seq)
		require.WithinDuration(t, time.Now(), e.Stored, patience)
	}
	_, err := j.Append(ctx, nil)
	require.NoError(t, err, "an empty entry is an entry")
	_, entries = openJournal(t, ctx, c)
	require.Len(t, entries, 1001)
	require.Empty(t, entries[1000].Data)
}

// Reading large entries must not make the server hold so much for the connection that it cuts it off.
func TestJournalsOfLargeEntries(t *testing.T) {
	const journals, entries, size = 12, 14, 1_000_000
	ctx, nc := testContext(t), embeddedtest.Connect(t)
	c := clientOf(t, nc)
	data := bytes.Repeat([]byte("x"), size)
	open := func(i int) *stream.Journal {
		j, err := c.OpenJournal(ctx, "large-"+strconv.Itoa(i))
		require.NoError(t, err)
		return j
	}
	for i := range journals {
		j := open(i)
		require.NoError(t, j.Replay(ctx, func(stream.Entry) error { return nil }))
		for n := range entries {
			if n < 3 { // what comes first does not say how large the others are
				_, err := j.Append(ctx, data[:1])
				require.NoError(t, err)
				continue
			}
			_, err := j.Append(ctx, data)
			require.NoError(t, err)
		}
	}
	read := make(chan int, journals)
	for i := range journals {
		j := open(i)
		go func() {
			n := 0
			if err := j.Replay(ctx, func(stream.Entry) error { n++; return nil }); err != nil {
				n = -1
			}
			read <- n
		}()
	}
	for range journals {
		require.Equal(t, entries, <-read)
	}
	require.Zero(t, nc.Stats().Reconnects)
}

func TestJournalMustBeReplayedFirst(t *testing.T) {
	ctx := testContext(t)
	j, err := newClient(t).OpenJournal(ctx, "j")
	require.NoError(t, err)
	require.Equal(t, "j", j.Name())
	_, err = j.Append(ctx, nil)
	require.ErrorIs(t, err, stream.ErrNotReplayed)
	require.ErrorIs(t, j.Verify(ctx), stream.ErrNotReplayed)
	require.ErrorIs(t, j.Trim(ctx, 1), stream.ErrNotReplayed)
}

func TestReplayStopsAtAnError(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	j, _ := openJournal(t, ctx, c)
	for range 3 {
		_, err := j.Append(ctx, []byte("x"))
		require.NoError(t, err)
	}
	stop := errors.New("stop")
	n := 0
	require.ErrorIs(t, j.Replay(ctx, func(stream.Entry) error { n++; return stop }), stop)
	require.Equal(t, 1, n)
	_, err := j.Append(ctx, nil)
	require.ErrorIs(t, err, stream.ErrNotReplayed)

	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, j.Replay(ended, func(stream.Entry) error { return nil }), context.Canceled)
}

// The stale one of two owners is fenced, and nothing of it is stored, whether it
// writes one message or many.
func TestStaleOwnerIsFenced(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	old, _ := openJournal(t, ctx, c)
	_, err := old.Append(ctx, []byte("old 1"))
	require.NoError(t, err)

	fresh, entries := openJournal(t, ctx, clientOf(t, nc))
	require.Len(t, entries, 1)
	require.NoError(t, old.Verify(ctx), "nobody has written yet")
	_, err = fresh.Append(ctx, []byte("new 2"))
	require.NoError(t, err)

	for _, data := range [][]byte{[]byte("old 2"), []byte("new 2"), nil, make([]byte, 3<<20)} {
		_, err = old.Append(ctx, data)
		require.ErrorIs(t, err, stream.ErrFenced)
		var fenced *stream.FencedError
		require.ErrorAs(t, err, &fenced)
		require.Equal(t, stream.FencedError{Journal: "j", Expected: 1, Actual: 2}, *fenced)
	}
	require.ErrorIs(t, old.Verify(ctx), stream.ErrFenced)
	require.NoError(t, fresh.Verify(ctx))
	_, err = fresh.Append(ctx, []byte("new 3"))
	require.NoError(t, err)
	_, entries = openJournal(t, ctx, c)
	require.Len(t, entries, 3)
	require.Equal(t, "new 2", string(entries[1].Data))
	require.Equal(t, "new 3", string(entries[2].Data))
	require.EqualValues(t, 3, entries[2].Seq)
}

// Owners that race for the journal: exactly those appends are in it that
// succeeded, in one order.
func TestRacingOwners(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	type outcome struct {
		seq  uint64
		data string
	}
	results := make(chan []outcome)
	for owner := range 4 {
		c := clientOf(t, nc)
		go func() {
			var mine []outcome
			for n := 0; n < 50 && ctx.Err() == nil; {
				j, err := c.OpenJournal(ctx, "j")
				if err == nil {
					err = j.Replay(ctx, func(stream.Entry) error { return nil })
				}
				for err == nil && n < 50 {
					data := fmt.Sprint(owner, "/", n)
					var e stream.Entry
					if e, err = j.Append(ctx, []byte(data)); err == nil {
						mine = append(mine, outcome{e.Seq, data})
						n++
						if rand.IntN(4) == 0 {
							break
						}
					}
				}
				if err != nil && !errors.Is(err, stream.ErrFenced) {
					t.Error(err)
					break
				}
			}
			results <- mine
		}()
	}
	want := map[uint64]string{}
	for range 4 {
		for _, o := range <-results {
			require.NotContains(t, want, o.seq)
			want[o.seq] = o.data
		}
	}
	require.Len(t, want, 200)
	_, entries := openJournal(t, ctx, clientOf(t, nc))
	require.Len(t, entries, 200)
	for _, e := range entries {
		require.Equal(t, want[e.Seq], string(e.Data))
	}
}

// The answer to an append is lost with the connection: the owner finds out that
// the entry is stored and goes on; nothing is stored twice.
func TestLostAcknowledgement(t *testing.T) {
	for name, size := range map[string]int{"one message": 100, "a batch": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
			at, err := url.Parse(s.URL())
			require.NoError(t, err)
			p := startProxy(t, at.Host)
			js, err := jetstream.New(embeddedtest.ConnectTo(t, s))
			require.NoError(t, err)
			j, _ := openJournal(t, ctx, clientOf(t, p.connect(t)))
			backing, err := js.Stream(ctx, "j")
			require.NoError(t, err)

			for round := range 3 {
				before := j.Head()
				data := bytes.Repeat([]byte{byte(round)}, size)
				appended := make(chan error, 1)
				if size < 1<<20 {
					p.loseAnswers()
				}
				go func() {
					_, err := j.Append(ctx, data)
					appended <- err
				}()
				if size >= 1<<20 {
					// Lose the answer to the commit, not to the first message.
					p.cut()
				} else {
					require.Eventually(t, func() bool {
						info, err := backing.Info(ctx)
						return err == nil && info.State.LastSeq > before
					}, patience, time.Millisecond)
					p.cut()
				}
				require.NoError(t, <-appended)
			}
			require.NoError(t, j.Verify(ctx))
			_, entries := openJournal(t, ctx, clientOf(t, p.connect(t)))
			require.Len(t, entries, 3)
			for round, e := range entries {
				require.Equal(t, bytes.Repeat([]byte{byte(round)}, size), e.Data)
			}
		})
	}
}

// An owner that loses its connection, and with it an answer, after every entry
// appends each once.
func TestAppendUnderConstantCuts(t *testing.T) {
	ctx := testContext(t)
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	p := startProxy(t, at.Host)
	j, _ := openJournal(t, ctx, clientOf(t, p.connect(t)))
	js, err := jetstream.New(embeddedtest.ConnectTo(t, s))
	require.NoError(t, err)
	backing, err := js.Stream(ctx, "j")
	require.NoError(t, err)
	const entries = 6
	entry := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%04d", i), 1+i*40_000) }
	for i := range entries {
		before := j.Head()
		appended := make(chan error, 1)
		p.loseAnswers()
		go func() {
			_, err := j.Append(ctx, entry(i))
			appended <- err
		}()
		// Cut it as soon as the entry is stored, then once more while its owner
		// is finding out.
		require.Eventually(t, func() bool {
			info, err := backing.Info(ctx)
			return err == nil && info.State.LastSeq > before
		}, patience, time.Millisecond)
		p.cut()
		p.cut()
		require.NoError(t, <-appended)
	}
	_, got := openJournal(t, ctx, clientOf(t, embeddedtest.ConnectTo(t, s)))
	require.Len(t, got, entries)
	for i, e := range got {
		require.Equal(t, entry(i), e.Data)
	}
}

func TestAppendEndsWithItsContext(t *testing.T) {
	s := restartable(t)
	j, _ := openJournal(t, testContext(t), clientOf(t, s.connect(t)))
	require.NoError(t, s.s.Stop())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := j.Append(ctx, []byte("x"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, `journal "j"`)
}

// An entry larger than the server's maximum is stored whole or not at all.
func TestOversizeEntries(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	j, _ := openJournal(t, ctx, c)
	var want [][]byte
	for _, size := range []int{10, int(c.MaxPayload()), int(c.MaxPayload()) + 1, 3 << 20, 10} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * size)
		}
		e, err := j.Append(ctx, data)
		require.NoError(t, err)
		require.Equal(t, j.Head(), e.Seq)
		want = append(want, data)
	}
	// Half of a batch, as an owner leaves it that dies in the middle.
	half := jsMsg("_rossby.journal.j", map[string]string{
		"Nats-Batch-Id": "half", "Nats-Batch-Sequence": "1", "Rossby-Chunk": "1/2", "Rossby-Append": "x-1",
		"Nats-Expected-Last-Sequence": fmt.Sprint(j.Head()),
	})
	_, err := nc.RequestMsgWithContext(ctx, half)
	require.NoError(t, err)
	require.NoError(t, j.Verify(ctx))

	j, entries := openJournal(t, ctx, c)
	require.Len(t, entries, len(want))
	for i, e := range entries {
		require.True(t, bytes.Equal(want[i], e.Data), "entry %d", i)
	}
	_, err = j.Append(ctx, []byte("next"))
	require.NoError(t, err)

	_, err = j.Append(ctx, make([]byte, 1001<<20))
	require.ErrorContains(t, err, "max_payload")
}

func TestTrim(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	j, _ := openJournal(t, ctx, c)
	require.NoError(t, j.Trim(ctx, 100), "of an empty journal")
	var seqs []uint64
	for i := range 6 {
		size := 10
		if i == 2 || i == 5 {
			size = 3 << 20
		}
		e, err := j.Append(ctx, bytes.Repeat([]byte{byte(i)}, size))
		require.NoError(t, err)
		seqs = append(seqs, e.Seq)
	}
	left := func() (first byte, n int) {
		_, entries := openJournal(t, ctx, c)
		require.NotEmpty(t, entries)
		return entries[0].Data[0], len(entries)
	}
	check := func(before uint64, wantFirst byte) {
		t.Helper()
		require.NoError(t, j.Trim(ctx, before))
		first, n := left()
		require.Equal(t, wantFirst, first)
		require.Equal(t, 6-int(wantFirst), n)
		require.NoError(t, j.Verify(ctx))
	}
	check(0, 0)
	check(seqs[0], 0)
	check(seqs[1], 1)
	check(seqs[2]-1, 2) // within the large entry, which stays whole
	check(seqs[2], 2)
	check(seqs[2]+1, 3)
	check(seqs[5], 5)
	check(seqs[5]+100, 5) // the last one always stays
	_, err := j.Append(ctx, []byte{6})
	require.NoError(t, err)
	_, entries := openJournal(t, ctx, c)
	require.Len(t, entries, 2)
	require.Equal(t, []byte{6}, entries[1].Data)
	// One who has only replayed knows the large entry as well.
	fresh, _ := openJournal(t, ctx, c)
	require.NoError(t, fresh.Trim(ctx, seqs[5]-1))
	_, entries = openJournal(t, ctx, c)
	require.Len(t, entries, 2)
}

// A purged journal, empty but with a history, goes on where it was.
func TestJournalPurgedByHand(t *testing.T) {
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
	require.NoError(t, s.DeleteMsg(ctx, 5)) // the last one
	j, entries := openJournal(t, ctx, c)
	require.Len(t, entries, 4)
	require.EqualValues(t, 5, j.Head())
	require.NoError(t, s.Purge(ctx))
	j, entries = openJournal(t, ctx, c)
	require.Empty(t, entries)
	e, err := j.Append(ctx, []byte("y"))
	require.NoError(t, err)
	require.EqualValues(t, 6, e.Seq)
}

func TestDeleteJournal(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	j, _ := openJournal(t, ctx, c)
	_, err := j.Append(ctx, []byte("x"))
	require.NoError(t, err)
	require.NoError(t, c.DeleteJournal(ctx, "j"))
	require.NoError(t, c.DeleteJournal(ctx, "j"))
	_, err = j.Append(ctx, []byte("y"))
	require.Error(t, err)
	require.ErrorContains(t, err, "stream not found")
	_, entries := openJournal(t, ctx, c)
	require.Empty(t, entries)
}

// Random histories of appends, trims and re-openings agree with a list.
func TestJournalModel(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	c := newClient(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		require.NoError(rt, c.DeleteJournal(ctx, "j"))
		round++
		j, _ := openJournal(rt, ctx, c)
		var model []stream.Entry
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				data := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(rt, "data")
				if rapid.IntRange(0, 100).Draw(rt, "large") == 100 {
					data = bytes.Repeat([]byte{byte(round)}, 2<<20)
				}
				e, err := j.Append(ctx, data)
				require.NoError(rt, err)
				model = append(model, e)
			},
			"trim": func(rt *rapid.T) {
				if len(model) == 0 {
					return
				}
				i := rapid.IntRange(0, len(model)-1).Draw(rt, "to")
				require.NoError(rt, j.Trim(ctx, model[i].Seq))
				model = model[i:]
			},
			"reopen": func(rt *rapid.T) {
				var entries []stream.Entry
				j, entries = openJournal(rt, ctx, c)
				require.Equal(rt, seqsOf(model), seqsOf(entries))
				for i := range entries {
					require.Equal(rt, model[i].Seq, entries[i].Seq)
					require.True(rt, bytes.Equal(model[i].Data, entries[i].Data))
				}
			},
		})
	})
}

func seqsOf(entries []stream.Entry) []uint64 {
	seqs := make([]uint64, len(entries))
	for i, e := range entries {
		seqs[i] = e.Seq
	}
	return seqs
}

// TestLargeEntryOverASlowLine appends an entry that takes longer to send than a server is given to answer.
func TestLargeEntryOverASlowLine(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Second)
	defer cancel()
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	p := startProxy(t, at.Host)
	j, _ := openJournal(t, ctx, clientOf(t, p.connect(t)))
	p.crawl(time.Second / 4096) // 4 MiB/s
	data := bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)
	_, err = j.Append(ctx, data)
	require.NoError(t, err)
	_, entries := openJournal(t, ctx, clientOf(t, embeddedtest.ConnectTo(t, s)))
	require.Len(t, entries, 1)
	require.True(t, bytes.Equal(data, entries[0].Data))
}

// TestEntryThatIsTooLarge appends more than the server takes in one batch: by the limit of its version, or by its own.
func TestEntryThatIsTooLarge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits string
		size   int
		says   string
	}{
		"of the version":  {"", 4 << 20, "more than 1000 messages of 3584 bytes (raise max_payload on the server)"},
		"of its settings": {"limits { batch { max_msgs: 100 } }", 2 << 20, "append 2097152 bytes: nats: API error: code=400 err_code=10199"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := filepath.Join(t.TempDir(), "server.conf")
			require.NoError(t, os.WriteFile(conf, []byte("max_payload: 4096, jetstream { "+c.limits+" }"), 0o600))
			ctx := testContext(t)
			s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort, ConfigFile: conf})
			j, _ := openJournal(t, ctx, clientOf(t, embeddedtest.ConnectTo(t, s)))
			_, err := j.Append(ctx, make([]byte, c.size))
			var refused *stream.JournalError
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, c.says)
			_, err = j.Append(ctx, make([]byte, 90*3584))
			require.NoError(t, err)
		})
	}
}
