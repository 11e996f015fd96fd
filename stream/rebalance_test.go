package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// readings counts how often a group has had each record of numbers.
type readings struct {
	mu    sync.Mutex
	times map[string]int
}

func (r *readings) add(records []stream.Record[string]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil {
		r.times = make(map[string]int)
	}
	for _, one := range records {
		r.times[one.Value]++
	}
}

// counts gives how many of the records 0 to n-1 have been read, and how often again.
func (r *readings) counts(n int) (read, again int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range n {
		if times := r.times[strconv.Itoa(i)]; times > 0 {
			read++
			again += times - 1
		}
	}
	return read, again
}

// worker polls and commits in a goroutine, as an application does.
type worker struct {
	k    *stream.Consumer[string]
	stop context.CancelFunc
	done chan error
}

func work(t *testing.T, c *stream.Client, all *readings, cfg stream.ConsumerConfig) *worker {
	t.Helper()
	k, err := stream.NewConsumer(testContext(t), c, numbers, cfg)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	w := &worker{k: k, stop: stop, done: make(chan error, 1)}
	go func() {
		w.done <- func() error {
			for {
				records, err := k.Poll(ctx)
				if err != nil {
					return err
				}
				all.add(records)
				var lost *stream.ClaimLostError
				if err := k.Commit(context.WithoutCancel(ctx)); err != nil && !errors.As(err, &lost) {
					return err
				}
			}
		}()
	}()
	t.Cleanup(func() { stop(); k.Close() })
	return w
}

// halt ends polling, without leaving the group.
func (w *worker) halt() error {
	w.stop()
	err := <-w.done
	w.done <- err
	return err
}

func (w *worker) leave(t *testing.T) {
	t.Helper()
	require.ErrorIs(t, w.halt(), context.Canceled)
	w.k.Close()
}

func holds(n int, workers ...*worker) func() bool {
	return func() bool {
		return !slices.ContainsFunc(workers, func(w *worker) bool { return len(w.k.Assigned()) != n })
	}
}

func shortSession(group string) stream.ConsumerConfig {
	return stream.ConsumerConfig{Group: group, SessionTimeout: time.Second}
}

// Members come and go cleanly while records arrive: each record is read, and exactly
// once, since all that was polled is committed before anything moves.
func TestMembersComeAndGo(t *testing.T) {
	s := embeddedtest.Start(t)
	c := clientOf(t, embeddedtest.ConnectTo(t, s))
	createTopic(t, c, numbers.Spec())
	var all readings
	cfg := stream.ConsumerConfig{Group: "g", SessionTimeout: time.Hour} // nobody waits for it
	next := 0
	more := func(n int) { fill(t, c, next, n); next += n }
	more(1000)
	a := work(t, c, &all, cfg)
	eventually(t, "the first has all", holds(4, a))
	b := work(t, clientOf(t, embeddedtest.ConnectTo(t, s)), &all, cfg)
	more(1000)
	eventually(t, "two share", holds(2, a, b))
	d := work(t, c, &all, cfg)
	e := work(t, c, &all, cfg)
	more(1000)
	eventually(t, "four share", holds(1, a, b, d, e))
	a.leave(t)
	more(1000)
	d.leave(t)
	eventually(t, "two are left", holds(2, b, e))
	more(1000)
	b.leave(t)
	eventually(t, "one is left", holds(4, e))
	more(1000)
	eventually(t, "all is read", func() bool { read, _ := all.counts(next); return read == next })
	read, again := all.counts(next)
	t.Logf("%d produced, %d read, %d of them again", next, read, again)
	require.Zero(t, again)
}

// A Poll whose context ends while partitions are given up does not tell of them again.
func TestRevokedIsToldOnce(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	ctx, cancel := context.WithCancel(t.Context())
	var revoked []int
	a, err := stream.NewConsumer(testContext(t), c, numbers, stream.ConsumerConfig{
		Group:     "g",
		OnRevoked: func(_ context.Context, parts []int) error { revoked = append(revoked, parts...); cancel(); return nil },
		OnLost:    func(_ context.Context, parts []int) error { return fmt.Errorf("%v were told before", parts) },
	})
	require.NoError(t, err)
	defer a.Close()
	b, err := stream.NewConsumer(testContext(t), c, numbers, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer b.Close()
	_, err = a.Poll(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, revoked, 2)
	for first := true; first || len(a.Assigned()) > 2; first = false {
		short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err = a.Poll(short)
		stop()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	require.Len(t, revoked, 2)
}

// While others wait for the partitions that move, those that stay are read on.
func TestOnlyMovedPartitionsPause(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	var revoked []int
	stays := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g", OnRevoked: func(_ context.Context, parts []int) error {
		revoked = append(revoked, parts...)
		return nil
	}})
	fill(t, c, 0, 400)
	requireAll(t, 0, 400, pollN(t, stays, 400))
	require.NoError(t, stays.Commit(ctx))

	given, goOn := make(chan []stream.Assignment, 1), make(chan struct{})
	joins := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g", OnAssigned: func(_ context.Context, parts []stream.Assignment) error {
		given <- slices.Clone(parts)
		<-goOn
		return nil
	}})
	type polled struct {
		records []stream.Record[string]
		err     error
	}
	others := make(chan polled, 1)
	go func() {
		var got polled
		for len(got.records) < 200 && got.err == nil {
			var records []stream.Record[string]
			records, got.err = joins.Poll(ctx)
			got.records = append(got.records, records...)
		}
		others <- got
	}()
	var moved []stream.Assignment
	for moved == nil { // revocations happen in Poll
		brief, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		_, err := stays.Poll(brief)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		select {
		case moved = <-given:
		default:
		}
	}
	fill(t, c, 400, 400)
	for _, r := range pollN(t, stays, 200) {
		require.NotContains(t, revoked, r.Partition)
	}
	close(goOn)
	rest := <-others
	require.NoError(t, rest.err)
	require.Len(t, rest.records, 200)
	for _, r := range rest.records {
		require.Contains(t, revoked, r.Partition)
		require.Greater(t, r.Offset, uint64(100), "read again")
	}
	require.Len(t, revoked, 2)
}

// Each member in turn dies without a word: its connection ends and nothing else is
// said. The others take over, and what was not committed is read again.
func TestEveryMemberDies(t *testing.T) {
	s := embeddedtest.Start(t)
	admin := clientOf(t, embeddedtest.ConnectTo(t, s))
	createTopic(t, admin, numbers.Spec())
	var all readings
	var conns []*nats.Conn
	var workers []*worker
	for range 3 {
		nc := embeddedtest.ConnectTo(t, s)
		conns = append(conns, nc)
		workers = append(workers, work(t, clientOf(t, nc), &all, shortSession("g")))
	}
	next := 0
	for i := range 2 {
		fill(t, admin, next, 500)
		next += 500
		eventually(t, "all is assigned", func() bool {
			n := 0
			for _, w := range workers[i:] {
				n += len(w.k.Assigned())
			}
			return n == numbers.Partitions
		})
		dies := time.Now()
		conns[i].Close()
		require.Error(t, workers[i].halt())
		fill(t, admin, next, 500)
		next += 500
		eventually(t, "the others read on", func() bool { read, _ := all.counts(next); return read == next })
		t.Logf("member %d died; its records were read after %v, with a session timeout of 1s", i, time.Since(dies))
	}
	read, again := all.counts(next)
	t.Logf("%d produced, %d read, %d times one again", next, read, again)
	require.Equal(t, next, read)
	require.NoError(t, func() error {
		members, err := admin.Members(t.Context(), numbers.Spec(), "g")
		if err == nil && len(members) != 1 {
			err = fmt.Errorf("members %v", members)
		}
		return err
	}())
}

// A member with a static name is away for less than its session: it gets what it had,
// and the other one is not disturbed.
func TestStaticNamesKeepTheirPartitions(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	var all readings
	var mu sync.Mutex
	changes := 0
	config := func(name string) stream.ConsumerConfig {
		count := func() error {
			mu.Lock()
			defer mu.Unlock()
			if name == "b" {
				changes++
			}
			return nil
		}
		return stream.ConsumerConfig{
			Group: "g", Member: name, SessionTimeout: time.Minute,
			OnAssigned: func(context.Context, []stream.Assignment) error { return count() },
			OnRevoked:  func(context.Context, []int) error { return count() },
		}
	}
	a, b := work(t, c, &all, config("a")), work(t, c, &all, config("b"))
	eventually(t, "they share", holds(2, a, b))
	had, others := a.k.Assigned(), b.k.Assigned()
	mu.Lock()
	before := changes
	mu.Unlock()
	for round := range 3 {
		a.leave(t)
		fill(t, c, 100*round, 100)
		a = work(t, c, &all, config("a"))
		eventually(t, "it has what it had", func() bool { return slices.Equal(had, a.k.Assigned()) })
		require.Equal(t, others, b.k.Assigned())
	}
	eventually(t, "all is read", func() bool { read, _ := all.counts(300); return read == 300 })
	mu.Lock()
	require.Equal(t, before, changes, "the other one was disturbed")
	mu.Unlock()
	// A second process under the name ends the first one.
	again := work(t, c, &all, config("a"))
	var replaced *stream.MemberReplacedError
	require.ErrorAs(t, <-a.done, &replaced)
	a.done <- replaced
	eventually(t, "the second one has it all", func() bool { return slices.Equal(had, again.k.Assigned()) })
}

// A member beyond the number of partitions waits, and takes over.
func TestSurplusMembersStandBy(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	var all readings
	var workers []*worker
	for range numbers.Partitions + 1 {
		workers = append(workers, work(t, c, &all, stream.ConsumerConfig{Group: "g"}))
	}
	var idle *worker
	eventually(t, "one has nothing", func() bool {
		idle = nil
		n := 0
		for _, w := range workers {
			n += len(w.k.Assigned())
			if len(w.k.Assigned()) == 0 {
				idle = w
			}
		}
		return n == numbers.Partitions && idle != nil
	})
	fill(t, c, 0, 400)
	members, err := c.Members(testContext(t), numbers.Spec(), "g")
	require.NoError(t, err)
	require.Len(t, members, numbers.Partitions+1)
	require.Equal(t, 5*time.Second, members[0].SessionTimeout, "the default")
	held := map[string][]int{}
	for _, m := range members {
		held[m.Name] = m.Partitions
	}
	for _, w := range workers {
		require.Equal(t, len(w.k.Assigned()), len(held[w.k.Member()]))
	}
	_, err = c.ResetGroup(testContext(t), stream.GroupReset{Topic: numbers.Spec(), Group: "g", To: stream.ToEarliest()})
	var active *stream.GroupActiveError
	require.ErrorAs(t, err, &active)
	for _, w := range workers {
		if w != idle {
			w.leave(t)
		}
	}
	eventually(t, "the one that waited has all", holds(numbers.Partitions, idle))
	fill(t, c, 400, 400)
	eventually(t, "all is read", func() bool { read, _ := all.counts(800); return read == 800 })
	_, again := all.counts(800)
	require.Zero(t, again)
	idle.leave(t)
	_, err = c.ResetGroup(testContext(t), stream.GroupReset{Topic: numbers.Spec(), Group: "g", To: stream.ToEarliest()})
	require.NoError(t, err)
	again2 := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g"})
	requireAll(t, 0, 800, pollN(t, again2, 800))
}

// Groups know nothing of each other, whoever comes and goes in one of them.
func TestGroupsAreIndependent(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	groups := make([]readings, 3)
	for i := range groups {
		for range i + 1 {
			work(t, c, &groups[i], stream.ConsumerConfig{Group: fmt.Sprint("g", i)})
		}
	}
	const n = 2000
	fill(t, c, 0, n)
	for i := range groups {
		eventually(t, "the group reads all", func() bool { read, _ := groups[i].counts(n); return read == n })
		_, again := groups[i].counts(n)
		t.Logf("group %d with %d members: %d of %d records, %d again", i, i+1, n, n, again)
		require.Zero(t, again)
	}
}

// The server restarts under a group: nobody loses anything, and nothing is lost.
func TestGroupAcrossServerRestarts(t *testing.T) {
	s := restartable(t)
	admin := clientOf(t, s.connect(t))
	createTopic(t, admin, numbers.Spec())
	var all readings
	a := work(t, clientOf(t, s.connect(t)), &all, shortSession("g"))
	b := work(t, clientOf(t, s.connect(t)), &all, shortSession("g"))
	eventually(t, "they share", holds(2, a, b))
	const rounds, each = 3, 1000
	for round := range rounds {
		fill(t, admin, round*each, each)
		s.restart(t)
	}
	eventually(t, "all is read", func() bool { read, _ := all.counts(rounds * each); return read == rounds*each })
	eventually(t, "they share again", holds(2, a, b))
	_, again := all.counts(rounds * each)
	t.Logf("%d restarts: %d records read, %d again", rounds, rounds*each, again)
}

// A member is cut off for longer than its session, while it has records that it has
// not committed: its commit fails, it is told what it lost, and the group's position
// lateConn is a connection on which what begins the reading of the log of groups is kept until it is let go.
type lateConn struct {
	net.Conn
	let <-chan struct{}
}

func (c lateConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("CONSUMER.CREATE._rossby-groups")) {
		<-c.let
	}
	return c.Conn.Write(b)
}

// Dial makes it a nats.CustomDialer.
func (c lateConn) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return lateConn{conn, c.let}, err
}

// TestSlowToJoin has a member that has shown up and cannot hear itself for so long that the others take it for dead, and that the server forgets
// it where there are no others: it is a member once it hears.
func TestSlowToJoin(t *testing.T) {
	t.Parallel()
	for _, others := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d others", others), func(t *testing.T) {
			t.Parallel()
			server := restartable(t)
			c := clientOf(t, server.connect(t))
			createTopic(t, c, numbers.Spec())
			for range others {
				work(t, c, new(readings), shortSession("g"))
			}
			members := func(n int) func() bool {
				return func() bool {
					all, err := c.Members(testContext(t), numbers.Spec(), "g")
					return err == nil && len(all) == n
				}
			}
			let := make(chan struct{})
			late := clientOf(t, server.connect(t, nats.SetCustomDialer(lateConn{let: let})))
			joined := make(chan error, 1)
			var k *stream.Consumer[string]
			go func() {
				var err error
				k, err = stream.NewConsumer(testContext(t), late, numbers, shortSession("g"))
				joined <- err
			}()
			eventually(t, "it has shown up", members(others+1))
			eventually(t, "it is taken for dead", members(others))
			close(let)
			require.NoError(t, <-joined)
			defer k.Close()
			eventually(t, "it has its share", func() bool { return len(k.Assigned()) == 4/(others+1) })
		})
	}
}

// is that of its successor.
func TestCutOffMemberCannotCommit(t *testing.T) {
	ctx := testContext(t)
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	admin := clientOf(t, embeddedtest.ConnectTo(t, s))
	createTopic(t, admin, numbers.Spec())
	fill(t, admin, 0, 400)
	line := startProxy(t, s.URL()[len("nats://"):])
	cfg := shortSession("g")
	lost := make(chan []int, numbers.Partitions)
	cfg.OnLost = func(_ context.Context, parts []int) error { lost <- parts; return nil }
	zombie := newConsumer(t, clientOf(t, line.connect(t)), numbers, cfg)
	requireAll(t, 0, 400, pollN(t, zombie, 400))
	line.loseAnswers()
	heir := newConsumer(t, admin, numbers, shortSession("g"))
	requireAll(t, 0, 400, pollN(t, heir, 400))
	require.NoError(t, heir.Commit(ctx))
	fill(t, admin, 400, 400)
	requireAll(t, 400, 400, pollN(t, heir, 400))
	require.NoError(t, heir.Commit(ctx))

	line.cut()
	var gone *stream.ClaimLostError
	require.ErrorAs(t, zombie.Commit(ctx), &gone)
	require.Error(t, zombie.CommitOffset(ctx, 0, 1))
	committed, err := admin.Committed(ctx, numbers.Spec(), "g")
	require.NoError(t, err)
	for p, o := range committed {
		require.Equal(t, stream.GroupOffset{Partition: p, Next: 201}, o, "the late commit counted")
	}
	one, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for n := 0; n < numbers.Partitions; {
		if _, err := zombie.Poll(one); err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		select {
		case parts := <-lost:
			n += len(parts)
		default:
			require.NoError(t, one.Err(), "OnLost was not called")
		}
	}
}
