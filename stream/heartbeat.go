package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"
)

// run keeps the member alive, declares others dead, and takes and gives items until
// ctx ends.
func (m *Membership) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait, err := m.keepUp(ctx)
		if err != nil {
			if ctx.Err() == nil {
				m.end(err)
			}
			return
		}
		m.expel(ctx)
		m.settle(ctx)
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-m.kick:
		case <-timer.C:
		}
	}
}

// keepUp shows up if it is time to, and says how long it is until the next time.
func (m *Membership) keepUp(ctx context.Context) (wait time.Duration, err error) {
	wait, fallen := m.nextBeat()
	if wait > 0 && !fallen {
		return wait, nil
	}
	if err := m.beat(ctx); err != nil {
		return 0, err
	}
	wait, _ = m.nextBeat()
	return wait, nil
}

// nextBeat says when to show up next: soon, when somebody seems to be overdue, since
// the answer tells whether that is so.
func (m *Membership) nextBeat() (wait time.Duration, fallen bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.beatAt.Add(m.cfg.SessionTimeout / beatsPerSession)
	for _, p := range m.peers {
		at := p.due
		if soon := m.beatAt.Add(p.Session / looksPerSession); at.Before(soon) {
			at = soon
		}
		if at.Before(next) {
			next = at
		}
	}
	if m.copies.news {
		return 0, m.fallen
	}
	return time.Until(next), m.fallen
}

// beat says that the member is there. Where the log says otherwise it has lost all
// claims and joins again.
func (m *Membership) beat(ctx context.Context) error {
	m.mu.Lock()
	seq := m.seq
	m.mu.Unlock()
	err := m.show(ctx, seq)
	for errors.Is(err, errOutdated) {
		err = m.reenter(ctx)
	}
	var replaced *MemberReplacedError
	if err != nil && !errors.As(err, &replaced) && !errors.Is(err, nats.ErrConnectionClosed) && ctx.Err() == nil && retryable(err) {
		m.c.log.Debug("a heartbeat failed", zap.String("group", m.cfg.Name), zap.Error(err))
		return nil
	}
	return err
}

// show writes the own entry over the one at seq.
func (m *Membership) show(ctx context.Context, seq uint64) error {
	sent := time.Now()
	m.mu.Lock()
	e := memberEntry{
		Nonce: m.nonce, Static: m.cfg.Member != "", Session: m.cfg.SessionTimeout, Level: m.cfg.Level, Standby: m.cfg.Standby, Ready: m.tell(),
	}
	m.mu.Unlock()
	at, err := m.c.write(ctx, logEntry{
		subject: m.prefix + memberToken + m.id, body: e, expected: seq, ttl: m.cfg.SessionTimeout + sweepDelay,
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.beatAt = time.Now()
	if err != nil {
		return err
	}
	m.seq, m.fallen = at, false
	m.lease.Store(int64(sent.Add(m.cfg.SessionTimeout).Sub(m.start)))
	return nil
}

// enter writes the first entry of a life of this member.
func (m *Membership) enter(ctx context.Context) error {
	for {
		last, err := m.c.lastEntry(ctx, m.prefix+memberToken+m.id)
		if err != nil {
			return err
		}
		var seq uint64
		if last != nil {
			seq = last.Seq
		}
		if err := m.show(ctx, seq); !errors.Is(err, errOutdated) {
			return err
		}
	}
}

// reenter begins a new life, without the claims of the last one, unless another
// process has taken the static name.
func (m *Membership) reenter(ctx context.Context) error {
	last, err := m.c.lastEntry(ctx, m.prefix+memberToken+m.id)
	if err != nil {
		return err
	}
	var e memberEntry
	if last != nil {
		if err := json.Unmarshal(last.Data, &e); err != nil {
			return fmt.Errorf("stream: group %q: the entry of member %s is not readable: %w", m.cfg.Name, m.id, err)
		}
	}
	m.mu.Lock()
	if last != nil && e.Gone == "" && e.Nonce != m.nonce {
		m.mu.Unlock()
		return &MemberReplacedError{Group: m.cfg.Name, Member: m.id}
	}
	if last != nil && e.Gone == "" { // the answer was lost, the entry is there
		m.seq = last.Seq
		m.mu.Unlock()
		return m.show(ctx, last.Seq)
	}
	m.nonce, m.wanted = nuid.Next(), nil
	items := slices.Sorted(maps.Keys(m.held))
	clear(m.held)
	m.mu.Unlock()
	if len(items) > 0 {
		m.cfg.Lost(items)
	}
	m.c.log.Warn("a member was taken for dead and joins again", zap.String("group", m.cfg.Name), zap.Strings("lost", items))
	return m.enter(ctx)
}

// expel writes down that members are dead that were silent for too long. The server
// refuses if one of them has shown up meanwhile.
func (m *Membership) expel(ctx context.Context) {
	m.mu.Lock()
	silent := make(map[string]peer)
	for id, p := range m.peers {
		if p.silence >= p.Session {
			silent[id] = *p
		}
	}
	m.mu.Unlock()
	for id, p := range silent {
		e := p.memberEntry
		e.Gone = "silent"
		err := m.sayGone(ctx, id, e, p.seq)
		if errors.Is(err, errOutdated) {
			// Another one was quicker, or it lives; or the server has dropped it.
			last, lerr := m.c.lastEntry(ctx, m.prefix+memberToken+id)
			if lerr != nil || last != nil {
				continue // what is there comes by the log
			}
			err = nil
		}
		if err != nil {
			m.c.log.Debug("a silent member could not be removed", zap.String("group", m.cfg.Name), zap.Error(err))
			continue
		}
		m.c.log.Info("a member is silent and was removed", zap.String("group", m.cfg.Name), zap.String("member", id))
		m.mu.Lock()
		if now := m.peers[id]; now != nil && now.seq == p.seq {
			delete(m.peers, id)
			m.wanted = nil
		}
		m.mu.Unlock()
	}
}

// settle takes what belongs to this member and is free, and asks for what it holds
// and does not belong to it any more.
func (m *Membership) settle(ctx context.Context) {
	take, revoke, nonce := m.plan()
	m.follow()
	if len(revoke) > 0 {
		m.cfg.Revoke(revoke)
	}
	if take = m.abandoned(ctx, take); len(take) == 0 {
		return
	}
	got := make([]Claim, len(take))
	err := inParallel(indexes(take), func(i int) error {
		item, old := take[i].item, take[i].claimAt
		e := claimEntry{Member: m.id, Nonce: nonce, Next: old.Next}
		seq, err := m.c.write(ctx, logEntry{subject: m.prefix + claimToken + item, body: e, expected: old.seq})
		if errors.Is(err, errOutdated) {
			return m.unlearn(ctx, take[i]) // or somebody else has it, the log tells who
		}
		if err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.learnClaim(item, claimAt{e, seq})
		m.held[item] = &held{nonce: nonce, seq: seq, taken: seq}
		got[i] = Claim{Item: item, Next: old.Next}
		return nil
	})
	if err != nil {
		m.c.log.Debug("claims are tried again", zap.String("group", m.cfg.Name), zap.Error(err))
	}
	got = slices.DeleteFunc(got, func(c Claim) bool { return c.Item == "" })
	if len(got) > 0 {
		m.cfg.Assigned(got)
	}
}

// abandoned leaves out the items of holders that are alive without this member having heard of them yet: the entry of a member is
// written anew with each heartbeat, so one who joins while it is reads the claims long before the member.
func (m *Membership) abandoned(ctx context.Context, take []free) []free {
	type life struct{ member, nonce string }
	alive := make(map[life]bool)
	return slices.DeleteFunc(take, func(f free) bool {
		holder := life{f.Member, f.Nonce}
		if holder.member == "" || holder.member == m.id {
			return false
		}
		lives, known := alive[holder]
		if !known {
			lives = m.alive(ctx, holder.member, holder.nonce)
			alive[holder] = lives
		}
		return lives
	})
}

// alive asks the log whether a member lives the life of that nonce, and takes it for granted while there is no answer.
func (m *Membership) alive(ctx context.Context, id, nonce string) bool {
	last, err := m.c.lastEntry(ctx, m.prefix+memberToken+id)
	if err != nil {
		m.c.log.Debug("claims are tried again", zap.String("group", m.cfg.Name), zap.Error(err))
		return true
	}
	var e memberEntry
	return last != nil && json.Unmarshal(last.Data, &e) == nil && e.Gone == "" && e.Nonce == nonce
}

// unlearn forgets a claim that the log does not have any more, since somebody has deleted
// the group, or the topic: nothing else would tell.
func (m *Membership) unlearn(ctx context.Context, f free) error {
	last, err := m.c.lastEntry(ctx, m.prefix+claimToken+f.item)
	if err != nil || last != nil {
		return err
	}
	m.mu.Lock()
	known := f.seq > 0 && m.claims[f.item].seq == f.seq
	if known {
		delete(m.claims, f.item)
	}
	m.mu.Unlock()
	if known {
		m.wake() // now it can be claimed anew
	}
	return nil
}

// free is an item to be claimed, and the claim that it has now.
type free struct {
	item string
	claimAt
}

func (m *Membership) plan() (take []free, revoke []string, nonce string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fallen {
		return nil, nil, m.nonce // first it has to be a member again
	}
	if m.wanted == nil {
		m.assign()
	}
	for _, item := range m.cfg.Items {
		h := m.held[item]
		switch {
		case h == nil && m.vacant(m.claims[item]) && m.taker(item) == m.id:
			take = append(take, free{item, m.claims[item]})
		case h != nil && !h.revoking && m.wanted[item] != m.id && m.mayGo(item):
			h.revoking = true
			revoke = append(revoke, item)
		}
	}
	return take, revoke, m.nonce
}

// vacant says whether nobody alive holds a claim. A member that has begun a new life
// has none of its old claims.
func (m *Membership) vacant(c claimAt) bool {
	if c.Member == "" || c.Member == m.id {
		return true
	}
	p := m.peers[c.Member]
	return p == nil || p.Nonce != c.Nonce
}
