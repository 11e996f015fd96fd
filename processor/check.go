package processor

import (
	"fmt"

	"github.com/rossby-streams/rossby/stream"
)

// check reports what is wrong with the topology as a whole; what is wrong with one call, the call has reported.
func (b *Builder) check(t *Topology) {
	b.checkNames()
	b.checkConnected()
	topics := b.checkTopics(t)
	b.checkDeadLetters(t, topics)
	b.checkCycles()
	b.checkSubNames(t.subs)
}

// checkNames reports topics that are read twice and operators that share a name.
func (b *Builder) checkNames() {
	taken := make(map[string]*vertex)
	for _, v := range b.vertices {
		var id string
		switch v.kind {
		case kindSource, kindGlobal:
			id = "topic " + v.topic.Name
		case kindProcess, kindKeyBy, kindDeliver:
			id = "operator " + v.name
		default:
			continue
		}
		if first, ok := taken[id]; ok {
			if v.kind == kindSource || v.kind == kindGlobal {
				b.mistake(v.at, "topic %q is read already at %s: use that stream twice", v.topic.Name, first.at)
			} else {
				b.mistake(v.at, "the name %q is taken already at %s: state is kept under it, so it must be unique", v.name, first.at)
			}
			continue
		}
		taken[id] = v
	}
}

// checkConnected reports streams that nobody takes and that do nothing on the way. Not those of Process and Peek, which are
// there for what they do, nor a branch, since a Branch gives them all, nor what a join gives and nobody asked for.
func (b *Builder) checkConnected() {
	taken := make(map[*vertex]bool)
	for _, v := range b.vertices {
		for _, p := range v.parents {
			taken[p] = true
		}
	}
	for _, v := range b.vertices {
		if taken[v] || v.composed {
			continue
		}
		switch v.kind {
		case kindSource:
			b.mistake(v.at, "topic %q is read and nobody takes its records: use the stream, or leave it out", v.topic.Name)
		case kindFilter, kindMap, kindFlatMap, kindMerge, kindRepartition:
			b.mistake(v.at, "the stream of this %s ends nowhere: nothing comes of its records; send it To a topic, or leave it out", v.label())
		}
	}
}

// checkTopics reports topics that are described in two ways, and repartition topics that are somebody's topic. It returns the first
// use of every topic.
func (b *Builder) checkTopics(t *Topology) map[string]*vertex {
	first := make(map[string]*vertex)
	for _, v := range b.vertices {
		if v.topic.Name == "" {
			continue
		}
		f, ok := first[v.topic.Name]
		if !ok {
			first[v.topic.Name] = v
			if err := v.topic.Validate(); err != nil && v.kind == kindKeyBy && legalName.MatchString(v.name) && legalName.MatchString(t.app) {
				b.mistake(v.at, "KeyBy %s: its repartition topic: %v", v.name, err)
			}
			continue
		}
		switch {
		case f.internal() != v.internal():
			b.mistake(v.at, "topic %q is the repartition topic of a KeyBy, and used as a topic, too (%s): rename one", v.topic.Name, f.at)
		case v.internal():
		case f.topic != v.topic:
			b.mistake(v.at, "topic %q is described differently at %s (%s here, %s there): keep the description in one variable",
				v.topic.Name, f.at, specText(v.topic), specText(f.topic))
		}
	}
	return first
}

func (v *vertex) internal() bool { return v.kind == kindKeyBy || v.kind == kindRepartition }

func specText(s stream.TopicSpec) string {
	return fmt.Sprintf("%d partitions, %d replicas, storage %v, max age %v, duplicate window %v", s.Partitions, s.Replicas, s.Storage, s.MaxAge, s.DuplicateWindow)
}

// checkDeadLetters reports a dead letter topic that is no topic, or that the topology reads: letters about letters have no end.
func (b *Builder) checkDeadLetters(t *Topology, topics map[string]*vertex) {
	if err := t.deadLetters.Validate(); err != nil && b.deadLetters != nil {
		b.mistake(b.lettersAt, "DeadLetters: %v", err)
	}
	use, ok := topics[t.deadLetters.Name]
	switch {
	case !ok:
	case use.kind == kindSink && use.topic == t.deadLetters: // an operator that sends letters of its own
	case use.kind == kindSink:
		b.mistake(use.at, "topic %q gets the dead letters, with another description: use DeadLetters to say so", use.topic.Name)
	default:
		b.mistake(use.at, "topic %q gets the dead letters of this topology, which cannot read it as well: process them in an app of its own, or Redrive them", use.topic.Name)
	}
}

// checkCycles reports topics that are written with what comes of reading them.
func (b *Builder) checkCycles() {
	children := make(map[*vertex][]*vertex)
	sources := make(map[string]*vertex)
	for _, v := range b.vertices {
		for _, p := range v.parents {
			children[p] = append(children[p], v)
		}
		if v.fedBy != nil {
			children[v.fedBy] = append(children[v.fedBy], v)
		}
		if v.kind == kindSource {
			sources[v.topic.Name] = v
		}
	}
	for _, v := range b.vertices {
		if source := sources[v.topic.Name]; v.kind == kindSink && source != nil {
			children[v] = append(children[v], source)
			if reaches(source, v, children, make(map[*vertex]bool)) {
				b.mistake(v.at, "topic %q is read at %s, and what comes of it is written to it here: each record would come round for ever", v.topic.Name, source.at)
			}
		}
	}
}

func reaches(from, to *vertex, children map[*vertex][]*vertex, seen map[*vertex]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	for _, child := range children[from] {
		if reaches(child, to, children, seen) {
			return true
		}
	}
	return false
}

// checkSubNames reports sub-topologies that would share their journals.
func (b *Builder) checkSubNames(subs []*subTopology) {
	first := make(map[string]*subTopology)
	for _, sub := range subs {
		f, ok := first[sub.name]
		if !ok {
			first[sub.name] = sub
			continue
		}
		if len(sub.sources) > 0 && len(f.sources) > 0 && sub.name != "" {
			b.mistake(sub.sources[0].at, "a KeyBy and a topic are both named %q (%s), and tasks are named after them: rename the KeyBy", sub.name, f.sources[0].at)
		}
	}
}
