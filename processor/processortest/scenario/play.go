package scenario

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/rossby-streams/rossby/stream"
)

// play is a case on its way through its steps.
type play struct {
	c        *Case
	t        *Topology
	world    world
	crash    bool // restart after every step
	rand     *rand.Rand
	now      time.Time // wall clock
	last     int64     // highest event time so far
	pending  []output  // since the last assertion about outputs
	drops    int
	dropped  []string // why, or what
	asserted bool     // any assertion about outputs so far
	rows     map[place]output
}

// startOfClock is the wall clock of a case until a step sets it.
var startOfClock = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func newPlay(c *Case, t *Topology, w world, crash bool) *play {
	h := fnv.New64a()
	h.Write([]byte(c.Name))
	return &play{c: c, t: t, world: w, crash: crash, rand: rand.New(rand.NewPCG(h.Sum64(), 1)), now: startOfClock, rows: make(map[place]output)}
}

// run takes the case through all its steps. The error tells the step.
func (p *play) run() error {
	for i := range p.c.steps {
		if err := p.step(&p.c.steps[i]); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	if p.asserted && len(p.pending) > 0 {
		return fmt.Errorf("after the last step: %s", difference("no more outputs", nil, p.pending))
	}
	if want := p.c.finalDrops; want != nil && *want != p.drops {
		return fmt.Errorf("final_drops: want %d, got %d%s", *want, p.drops, p.whatWasDropped())
	}
	return nil
}

func (p *play) step(s *step) error {
	before := p.drops
	failed := p.act(s)
	if err := p.absorb(); err != nil {
		return err
	}
	if s.ExpectError != (failed != nil || s.ExpectError && p.drops > before) {
		if failed != nil {
			return failed
		}
		return fmt.Errorf("expect_error: the step did not fail")
	}
	if err := p.check(s); err != nil {
		return err
	}
	if !p.crash {
		return nil
	}
	if err := p.world.restart(); err != nil {
		return fmt.Errorf("restart after the step: %w", err)
	}
	return p.absorb()
}

// act does what the step says.
func (p *play) act(s *step) error {
	switch {
	case s.Input != nil:
		return p.send(s.Input)
	case s.Restart:
		return p.world.restart()
	case s.SetWallClock != nil:
		p.now = time.UnixMilli(*s.SetWallClock)
		p.world.setClock(p.now)
	case s.AdvanceWallClock != nil:
		p.now = p.now.Add(time.Duration(*s.AdvanceWallClock) * time.Millisecond)
		p.world.setClock(p.now)
	}
	return nil // a flush has nothing to do: nothing is held back here
}

func (p *play) send(in *input) error {
	at := p.last
	switch {
	case in.TS != nil:
		at = *in.TS
	case in.TSRandom:
		at = p.rand.Int64N(100_000)
	}
	p.last = max(p.last, at)
	r := record{topic: p.t.specs[in.Topic], key: in.Key.Text, at: time.UnixMilli(at), headers: stream.Headers(in.Headers), table: p.t.tables[in.Topic]}
	_, r.global = p.t.globals[in.Topic]
	if !in.Value.Null {
		data, err := json.Marshal(in.Value.Text)
		if err != nil {
			return fmt.Errorf("encode the input: %w", err)
		}
		r.data = data
	}
	return p.world.send(r)
}

// absorb takes what has come out.
func (p *play) absorb() error {
	messages, err := p.world.news()
	if err != nil {
		return err
	}
	for i := range messages {
		m, err := messages[i].parse()
		if err != nil {
			return err
		}
		switch m.kind {
		case outputEntry:
			p.pending = append(p.pending, m.out)
		case lateEntry:
			p.drops++
			p.dropped = append(p.dropped, "late: "+m.out.String())
		case rowEntry:
			if m.out.Value == nil {
				delete(p.rows, m.out.place())
			} else {
				p.rows[m.out.place()] = m.out
			}
		case fenceEntry:
		default:
			p.drops++
			p.dropped = append(p.dropped, "failed: "+m.reason)
		}
	}
	return nil
}

// check compares what has come out with what the step asserts.
func (p *play) check(s *step) error {
	if _, _, ok := s.Outputs.given(); ok {
		p.asserted = true
		got := p.pending
		p.pending = nil
		if diff := s.Outputs.compare(got); diff != "" {
			return fmt.Errorf("%s%s", diff, p.whatWasDropped())
		}
	}
	if s.ExpectTable != nil {
		if diff := s.ExpectTable.compare(slices.Collect(maps.Values(p.rows))); diff != "" {
			return errors.New(diff)
		}
	}
	if want := s.ExpectDrops; want != nil && *want != p.drops {
		return fmt.Errorf("expect_drops: want %d, got %d%s", *want, p.drops, p.whatWasDropped())
	}
	return nil
}

func (p *play) whatWasDropped() string {
	if len(p.dropped) == 0 {
		return ""
	}
	return "\n  dropped so far:\n    " + strings.Join(p.dropped, "\n    ")
}
