package processor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Topology is a checked description of what an app does. It is made by Builder.Build, run by an App or by
// processortest.Driver, and never changes.
type Topology struct {
	app         string
	subs        []*subTopology
	globals     []*vertex
	deadLetters stream.TopicSpec
	policy      policy
	closeOnIdle time.Duration
	keepState   Medium
}

// subTopology is a part of a topology that is connected without a repartition topic: it runs as one task per partition.
type subTopology struct {
	name       string
	partitions int
	vertices   []*vertex
	sources    []*vertex
	stores     []storeShape // in the order in which they are made, timers too
	values     map[string]valueShape
	plan       *engine.Plan
	topology   *Topology
	onDisk     bool // it has a store on disk
	letters    int  // rank of the dead letter topic among the sinks
}

// Build checks the description and returns the topology. The error wraps ErrTopology and lists all mistakes, each with the
// file and line of the call that made it.
func (b *Builder) Build() (*Topology, error) {
	t := &Topology{app: b.app, policy: b.policy, closeOnIdle: b.closeOnIdle, keepState: b.keepState, deadLetters: b.deadLetterSpec()}
	if !slices.ContainsFunc(b.vertices, func(v *vertex) bool { return v.kind == kindSource }) {
		b.mistake(callSite(), "the topology reads no topic: start it with processor.From")
	}
	b.resolvePolicies()
	t.subs, t.globals = b.split()
	b.partition(t.subs)
	b.nameSubs(t.subs)
	b.check(t)
	if len(b.mistakes) == 0 {
		for _, sub := range t.subs {
			t.makePlan(sub)
			b.probe(t, sub)
		}
		t.markShape()
	}
	if len(b.mistakes) > 0 {
		return nil, fmt.Errorf("%w:\n%w", ErrTopology, errors.Join(b.mistakes...))
	}
	return t, nil
}

func defaultDeadLetters(app string) string { return app + "-dead-letters" }

func (b *Builder) deadLetterSpec() stream.TopicSpec {
	topic := stream.Topic[[]byte]{Name: defaultDeadLetters(b.app)}
	if b.deadLetters != nil {
		topic = *b.deadLetters
	}
	return topic.Spec()
}

// split finds the sub-topologies, the connected parts, and the global tables, which belong to all of them.
func (b *Builder) split() (subs []*subTopology, globals []*vertex) {
	for _, v := range b.vertices { // parents come before their children
		for _, p := range v.parents {
			join(v, p)
		}
	}
	for _, v := range b.vertices {
		if v.kind == kindGlobal {
			globals = append(globals, v)
			continue
		}
		root := find(v)
		if root.sub == nil {
			root.sub = &subTopology{}
			subs = append(subs, root.sub)
		}
		v.sub = root.sub
		v.sub.vertices = append(v.sub.vertices, v)
		if v.kind == kindSource || v.kind == kindRepartition {
			v.rank = len(v.sub.sources)
			v.sub.sources = append(v.sub.sources, v)
		}
	}
	return subs, globals
}

// find and join are the usual disjoint sets, kept in the vertices themselves.
func find(v *vertex) *vertex {
	for v.root != nil {
		v = v.root
	}
	return v
}

func join(a, b *vertex) {
	if a, b = find(a), find(b); a != b {
		a.root = b
	}
}

// partition decides how many tasks each sub-topology has. Its topics must agree; a repartition topic follows the topics that
// it meets, or else what it comes from.
func (b *Builder) partition(subs []*subTopology) {
	for _, sub := range subs {
		var first *vertex
		for _, v := range sub.sources {
			switch {
			case v.kind != kindSource:
			case first == nil:
				first, sub.partitions = v, v.topic.Partitions
			case v.topic.Partitions != sub.partitions:
				b.mistake(v.at, "topic %q has %d partitions and meets topic %q with %d (%s): records of one key would not meet; give both the same number, or repartition one with KeyBy",
					v.topic.Name, v.topic.Partitions, first.topic.Name, first.topic.Partitions, first.at)
			}
		}
	}
	for _, sub := range subs { // a sub-topology comes after those that feed it
		for _, v := range sub.sources {
			if v.fedBy != nil && sub.partitions == 0 {
				sub.partitions = v.fedBy.sub.partitions
			}
		}
		for _, v := range sub.sources {
			if v.fedBy != nil {
				v.topic.Partitions = max(sub.partitions, 1)
				v.fedBy.topic = v.topic
			}
		}
	}
}

// nameSubs names each sub-topology after the first of its topics, in the order of the alphabet: no counters, so that adding
// an operator elsewhere renames nothing.
func (b *Builder) nameSubs(subs []*subTopology) {
	for _, sub := range subs {
		names := make([]string, 0, len(sub.sources))
		for _, v := range sub.sources {
			if v.kind == kindSource {
				names = append(names, v.topic.Name)
			} else {
				names = append(names, v.name)
			}
		}
		if len(names) > 0 {
			sub.name = slices.Min(names)
		}
	}
}

// makePlan prepares what the tasks of sub share.
func (t *Topology) makePlan(sub *subTopology) {
	plan := &engine.Plan{App: t.app, Name: sub.name}
	for _, v := range sub.sources {
		plan.Inputs = append(plan.Inputs, engine.Input{Topic: v.topic, Internal: v.kind == kindRepartition})
	}
	ranks := make(map[string]int)
	sink := func(s engine.Sink) int {
		rank, ok := ranks[s.Topic.Name]
		if !ok {
			rank = len(plan.Sinks)
			ranks[s.Topic.Name] = rank
			plan.Sinks = append(plan.Sinks, s)
		}
		return rank
	}
	for _, v := range sub.vertices {
		switch v.kind {
		case kindSink, kindKeyBy:
			v.rank = sink(engine.Sink{Topic: v.topic, Internal: v.kind == kindKeyBy})
		case kindDeliver:
			v.rank = sink(engine.Sink{Topic: stream.TopicSpec{Name: externalTopic(v.name)}, External: true})
		}
	}
	sub.topology, sub.letters = t, sink(engine.Sink{Topic: t.deadLetters})
	plan.Wire = func(task *engine.Task) { sub.wire(&wiring{task: task, sub: sub, made: make(map[*vertex]any)}) }
	plan.Failed = sub.unansweredFailure()
	sub.plan = plan
}

func (sub *subTopology) wire(w *wiring) {
	for _, v := range sub.sources {
		v.bind(w)
	}
}

// probe makes the operators once, for nothing but learning which stores they declare and what is wrong with them.
func (b *Builder) probe(t *Topology, sub *subTopology) {
	p := &probe{b: b}
	sub.values = make(map[string]valueShape)
	plan := *sub.plan
	plan.Wire = func(task *engine.Task) {
		sub.wire(&wiring{task: task, sub: sub, made: make(map[*vertex]any), probe: p})
	}
	sub.noteState(engine.NewTask(&plan, 0, 1<<20))
}

// probe collects what operators declare while Build wires a topology for nothing but that.
type probe struct {
	b *Builder
}

func (p *probe) mistake(at, format string, args ...any) { p.b.mistake(at, format, args...) }

func (p *probe) store(v *vertex, name, at string) {
	if !legalName.MatchString(name) {
		p.mistake(at, "the store name %q must be made of letters, digits, '-' and '_'", name)
	}
	if name == timersName || name == wallTimersName {
		p.mistake(at, "operator %s cannot have a store named %q: its timers are kept under that name", v.name, name)
	}
	if slices.Contains(v.stores, name) {
		p.mistake(at, "operator %s has two stores named %q", v.name, name)
	}
	v.stores = append(v.stores, name)
}

// App returns the name of the application.
func (t *Topology) App() string { return t.app }

// Part is one sub-topology as processortest runs it. Its plan cannot be used outside of this module.
type Part struct {
	Plan       *engine.Plan
	Partitions int
	External   External
}

// Parts returns the sub-topologies; it is for processortest.
func (t *Topology) Parts() []Part {
	parts := make([]Part, len(t.subs))
	for i, sub := range t.subs {
		parts[i] = Part{Plan: sub.plan, Partitions: sub.partitions, External: make(External)}
		for _, v := range sub.vertices {
			if v.kind == kindDeliver {
				parts[i].External[externalTopic(v.name)] = v.send
			}
		}
	}
	return parts
}

// DeadLetterTopic returns the topic to which failed records go under the policy DeadLetter.
func (t *Topology) DeadLetterTopic() stream.Topic[[]byte] {
	s := t.deadLetters
	return stream.Topic[[]byte]{
		Name: s.Name, Partitions: s.Partitions, Replicas: s.Replicas, Storage: s.Storage, MaxAge: s.MaxAge,
		DuplicateWindow: s.DuplicateWindow, Codec: stream.Bytes(),
	}
}
