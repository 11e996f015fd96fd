package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"
)

const (
	// DefaultSessionTimeout is after how much silence a member counts as dead.
	DefaultSessionTimeout = 5 * time.Second
	// minSession keeps heartbeats and what the server forgets by itself apart.
	minSession = 100 * time.Millisecond
	// beatsPerSession is how often a member shows up within its session timeout.
	beatsPerSession = 4
	// looksPerSession is how often it looks again for one that is overdue.
	looksPerSession = 50
	// sweepDelay is how long after its session the server itself drops a member
	// that nobody is left to miss.
	sweepDelay = 2 * time.Second
)

// MembershipConfig says who shares what with whom.
type MembershipConfig struct {
	// Name is that of the group: tokens of letters, digits, '_' and '-' between
	// dots. Required. Members of one name share the same Items.
	Name string
	// Member is a static name, under which a process that comes back in time gets
	// again what it had. Leave says nothing to the others then: they wait for
	// SessionTimeout. Empty: a name of its own for each Join.
	Member string
	// Items are what is shared: partitions, tasks. Names like those of Member.
	Items []string
	// SessionTimeout is how long a member may be silent before the others take what
	// it holds. At least 100 ms. 0: DefaultSessionTimeout.
	SessionTimeout time.Duration
	// Level sets members apart that cannot go on with what others have done. While members of a lower level are there, items are
	// shared among those of the lowest; the others wait, and keep copies of what will be theirs. Items that only
	// higher levels know wait with them.
	Level int
	// Assigned is told what the member holds from now on. All functions are called
	// without locks, one at a time but for Lost, and must not block. Required.
	Assigned func([]Claim)
	// Revoke asks for items back: each is held until Release. Required.
	Revoke func(items []string)
	// Lost is told what the member does not hold any more, without having been
	// asked: it was silent for too long. Required.
	Lost func(items []string)
	// Failed is told why the membership has ended by itself. Required.
	Failed func(error)
	// Follow is told of which items this member should keep a copy, all of them
	// whenever they change: those that are to come to it, and with Standby those that
	// come if their holder dies. An item then moves when Ready has said that its copy
	// is warm. Items that Revoke asks for are among them, before it does, if a copy is
	// to stay here. nil: there are no copies, items move at once. All members of a
	// group have it, or none.
	Follow func(items []string)
	// Standby makes this member keep copies of items that others hold: every item has
	// a second member that follows it, of those with Standby, and of the members with
	// a warm copy one takes it when its holder is gone. A copy that a change of members
	// leaves over stays until another one is warm. It needs Follow. Members with and
	// without it may share a group.
	Standby bool
}

// Claim is an item that a member holds.
type Claim struct {
	Item string
	// Next is what the last Commit of any member said; 0: nothing.
	Next uint64
}

// Membership shares items among the members of a group: each is held by at most one
// member whose Commit works. The members are known from a log that the server keeps
// in one order; what belongs to whom is Assign of them; and an item is held by who
// wrote the last claim of it, which the server takes only from one that knows the
// claim before. Nobody leads. An item moves when its holder releases it, leaves, or is
// silent for its session timeout; one that was silent and wakes up has lost its
// claims, and the server tells it so when it commits.
//
// Its methods may be used by several goroutines.
type Membership struct {
	c      *Client
	cfg    MembershipConfig
	prefix string
	id     string
	cancel context.CancelFunc
	wg     sync.WaitGroup
	kick   chan struct{} // has a token when there is something to do
	joined chan struct{} // closed when the log up to the own entry is known

	start time.Time
	lease atomic.Int64 // nanoseconds after start until which nobody takes claims away

	mu      sync.Mutex
	nonce   string
	seq     uint64    // of the own entry
	beatAt  time.Time // when it was written
	fallen  bool      // the log has something else than the own entry
	echo    bool      // the own entry has been seen
	peers   map[string]*peer
	claims  map[string]claimAt
	held    map[string]*held
	wanted  map[string]string // item to member, nil after a change of members
	later   map[string]string // of a member that waits: item to member, when those of lower levels have gone
	copies  copies
	ended   bool
	endOnce sync.Once
}

// peer is another member.
type peer struct {
	memberEntry
	seq     uint64
	mark    time.Time     // until when, by the server's clock, its silence is counted
	silence time.Duration // since its last heartbeat, while this member could hear
	due     time.Time     // when it is overdue by the own clock
}

type claimAt struct {
	claimEntry
	seq uint64
}

// held is a claim of this member.
type held struct {
	op       sync.Mutex // one writer at a time
	nonce    string
	seq      uint64 // guarded by the Membership's mutex
	taken    uint64 // seq of the claim by which it was taken
	revoking bool
}

// Join becomes a member, and returns when it knows the others and has told
// Assigned what it could take at once. ctx bounds that; Leave ends the membership.
func (c *Client) Join(ctx context.Context, cfg MembershipConfig) (*Membership, error) {
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = DefaultSessionTimeout
	}
	if cfg.SessionTimeout < minSession {
		return nil, fmt.Errorf("stream: session timeout of group %q is %v, it must be at least %v (or 0 for %v)", cfg.Name, cfg.SessionTimeout, minSession, DefaultSessionTimeout)
	}
	tokens := append(strings.Split(cfg.Name, "."), cfg.Items...)
	if cfg.Member != "" {
		tokens = append(tokens, cfg.Member)
	}
	for _, token := range tokens {
		if problem := nameProblem(token); problem != "" {
			return nil, &NameError{Kind: "group, member or item", Name: token, Problem: "it " + problem}
		}
	}
	id := cfg.Member
	if id == "" {
		id = nuid.Next()
	}
	m := &Membership{
		c: c, cfg: cfg, prefix: groupsSubject + cfg.Name + ".", id: id,
		kick: make(chan struct{}, 1), joined: make(chan struct{}), start: time.Now(),
		nonce: nuid.Next(),
		peers: make(map[string]*peer), claims: make(map[string]claimAt), held: make(map[string]*held),
	}
	if err := m.open(ctx); err != nil {
		return nil, fmt.Errorf("stream: join group %q: %w", cfg.Name, err)
	}
	return m, nil
}

func (m *Membership) open(ctx context.Context) error {
	if err := m.c.openGroupsStream(ctx); err != nil {
		return err
	}
	if err := m.enter(ctx); err != nil {
		return err
	}
	f := m.c.ephemeralFeed(groupsStream, jetstream.ConsumerConfig{FilterSubject: m.prefix + ">"})
	missing := func() error {
		return &GroupsGoneError{Group: m.cfg.Name}
	}
	f.errs = feedErrors{
		notFound: missing,
		gone:     func(uint64, uint64) error { return missing() },
		ahead:    func(uint64, uint64) error { return missing() },
	}
	f.handle = func(msg *nats.Msg, p position) bool {
		m.see(strings.TrimPrefix(msg.Subject, m.prefix), msg.Data, p)
		return true
	}
	if err := f.open(ctx); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	failed := make(chan error, 1)
	m.wg.Go(func() {
		err := f.run(run)
		f.close()
		if err == nil {
			return
		}
		select {
		case <-m.joined:
			m.end(err)
		default: // nobody has been told of this member yet
		}
		failed <- err
	})
	err := m.hear(ctx, failed)
	switch {
	case err == nil:
		m.settle(ctx)
		m.wg.Go(func() { m.run(run) })
	case ctx.Err() != nil:
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
		defer cancel()
		m.Leave(end)
	default: // nobody has been told of this member yet
		cancel()
		m.wg.Wait()
	}
	return err
}

// hear waits until the member has heard itself. It shows up meanwhile: reading the log may begin late, and whoever is silent for too long is
// taken for dead by the others and forgotten by the server.
func (m *Membership) hear(ctx context.Context, failed <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.joined:
			return nil
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-m.kick:
		case <-timer.C:
		}
		wait, err := m.keepUp(ctx)
		if err != nil {
			return err
		}
		timer.Reset(wait)
	}
}

// ID is the name under which the others know this member.
func (m *Membership) ID() string { return m.id }

// Fresh says whether no other member can have taken anything away yet. After a
// pause it is false until the server has confirmed that the member still is one.
func (m *Membership) Fresh() bool { return int64(time.Since(m.start)) < m.lease.Load() }

// Taken is a number that is another one whenever an item has been lost and taken
// again; 0 if the member does not hold it.
func (m *Membership) Taken(item string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.held[item]; h != nil {
		return h.taken
	}
	return 0
}

// Commit records next with the claim. The server takes it only from the holder:
// others get a *ClaimLostError.
func (m *Membership) Commit(ctx context.Context, item string, next uint64) error {
	return m.update(ctx, item, func(nonce string) claimEntry { return claimEntry{Member: m.id, Nonce: nonce, Next: next} })
}

// Release gives an item up with its position next, for its next holder to take at once.
func (m *Membership) Release(ctx context.Context, item string, next uint64) error {
	err := m.update(ctx, item, func(string) claimEntry { return claimEntry{Next: next} })
	if err == nil {
		m.mu.Lock()
		delete(m.held, item)
		m.mu.Unlock()
		m.wake()
	}
	return err
}

func (m *Membership) update(ctx context.Context, item string, entry func(nonce string) claimEntry) error {
	m.mu.Lock()
	h := m.held[item]
	m.mu.Unlock()
	if h == nil {
		return &ClaimLostError{Group: m.cfg.Name, Item: item}
	}
	h.op.Lock()
	defer h.op.Unlock()
	m.mu.Lock()
	expected := h.seq
	m.mu.Unlock()
	e := entry(h.nonce)
	seq, err := m.c.write(ctx, logEntry{subject: m.prefix + claimToken + item, body: e, expected: expected})
	if errors.Is(err, errOutdated) {
		m.drop(item, h)
		return &ClaimLostError{Group: m.cfg.Name, Item: item}
	}
	if err != nil {
		return fmt.Errorf("stream: claim of %s in group %q: %w", item, m.cfg.Name, err)
	}
	m.mu.Lock()
	h.seq = max(h.seq, seq)
	m.learnClaim(item, claimAt{e, seq})
	m.mu.Unlock()
	return nil
}

// drop takes note of a lost claim.
func (m *Membership) drop(item string, h *held) {
	m.mu.Lock()
	lost := m.held[item] == h
	if lost {
		delete(m.held, item)
	}
	m.mu.Unlock()
	if lost {
		m.cfg.Lost([]string{item})
		m.wake()
	}
}

// Leave ends the membership; what it holds is free at once, unless its name is
// static. ctx bounds how long it takes to tell the others, who otherwise
// notice by its silence.
func (m *Membership) Leave(ctx context.Context) {
	m.cancel()
	m.wg.Wait()
	m.mu.Lock()
	seq, ended := m.seq, m.ended
	m.ended = true
	clear(m.held)
	m.mu.Unlock()
	if ended || m.cfg.Member != "" {
		return
	}
	if err := m.sayGone(ctx, m.id, memberEntry{Nonce: m.nonce, Session: m.cfg.SessionTimeout, Gone: "left"}, seq); err != nil {
		m.c.log.Debug("a member left without the others knowing", zap.String("group", m.cfg.Name), zap.Error(err))
	}
}

func (m *Membership) sayGone(ctx context.Context, id string, e memberEntry, seq uint64) error {
	_, err := m.c.write(ctx, logEntry{subject: m.prefix + memberToken + id, body: e, expected: seq, ttl: markerTTL})
	return err
}

// end says that nothing works any more.
func (m *Membership) end(err error) {
	m.mu.Lock()
	m.ended = true
	items := slices.Sorted(maps.Keys(m.held))
	clear(m.held)
	m.mu.Unlock()
	m.lease.Store(0)
	m.endOnce.Do(func() {
		if len(items) > 0 {
			m.cfg.Lost(items)
		}
		m.cfg.Failed(err)
	})
}

func (m *Membership) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// see takes in one entry of the log. It is called in the order of the log.
func (m *Membership) see(subject string, data []byte, p position) {
	if id, ok := strings.CutPrefix(subject, memberToken); ok {
		var e memberEntry
		if json.Unmarshal(data, &e) == nil {
			m.seeMember(id, e, p)
		}
		return
	}
	item, ok := strings.CutPrefix(subject, claimToken)
	var e claimEntry
	if !ok || json.Unmarshal(data, &e) != nil {
		return
	}
	m.mu.Lock()
	m.learnClaim(item, claimAt{e, p.stream})
	h := m.held[item]
	lost := h != nil && p.stream > h.seq && e.Nonce != h.nonce && e.Member != ""
	m.mu.Unlock()
	if lost {
		m.drop(item, h)
	}
	m.wake()
}

// learnClaim is called with the mutex held.
func (m *Membership) learnClaim(item string, at claimAt) {
	if at.seq >= m.claims[item].seq {
		m.claims[item] = at
	}
}

func (m *Membership) seeMember(id string, e memberEntry, p position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id == m.id {
		switch {
		case e.Nonce == m.nonce && e.Gone == "":
			m.heardOwn(p.time())
		case p.stream > m.seq:
			m.fallen = true
			m.wake()
		}
		return
	}
	known := m.peers[id]
	switch {
	case e.Gone != "":
		delete(m.peers, id)
	case known != nil && known.Nonce == e.Nonce:
		known.seq, known.mark, known.silence, known.due = p.stream, p.time(), 0, time.Now().Add(e.Session)
		if !slices.Equal(known.Ready, e.Ready) {
			known.Ready = e.Ready
			m.copies.warm = nil
			m.wake()
		}
		return
	default:
		m.peers[id] = &peer{memberEntry: e, seq: p.stream, mark: p.time(), due: time.Now().Add(e.Session)}
	}
	m.wanted = nil
	m.wake()
}

// heardOwn counts the silence of the others by the server's clock: a member that
// cannot hear itself cannot blame others. What one pause of its own adds is bounded,
// so that after an outage everybody has time to show up.
func (m *Membership) heardOwn(now time.Time) {
	if !m.echo {
		m.echo = true
		close(m.joined)
	}
	for _, p := range m.peers {
		p.silence += min(max(now.Sub(p.mark), 0), p.Session/2)
		p.mark, p.due = now, time.Now().Add(p.Session-p.silence)
		if p.silence >= p.Session {
			m.wake()
		}
	}
}
