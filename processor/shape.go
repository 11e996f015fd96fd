package processor

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// shape is what the state of an app depends on: what its tasks keep, and where they go on. What is not in it, operators without state,
// functions and sinks, may change freely.
type shape struct {
	Subs []subShape `json:"subs"`
}

type subShape struct {
	Name       string       `json:"name"`
	Partitions int          `json:"partitions"`
	Inputs     []string     `json:"inputs"` // topics
	Stores     []storeShape `json:"stores,omitempty"`
}

type storeShape struct {
	Name    string `json:"name"`              // with the operator's; timers too
	Kind    string `json:"kind"`              // empty: not known
	Depends string `json:"depends,omitempty"` // what StateDependsOn has said of the operator

	Values *valueShape `json:"values,omitempty"` // nil: not known, as in notes of version 1, or there are none
}

// StateDependsOn says what the state of the operator was made with: the size of a window, for example. It is remembered with the app's
// state: an app whose topology says something else refuses to start, with an EvolutionError, rather than to read rows and timers that
// mean another thing. It is called in the function given to Process; text is for people, too.
func (c *Context[Out]) StateDependsOn(text string) {
	if c.w.probe != nil {
		c.vertex.depends = strings.Join(slices.DeleteFunc([]string{c.vertex.depends, text}, func(s string) bool { return s == "" }), "; ")
	}
}

// dependence describes what an aggregate's rows and timers mean.
func (f folding[V, A]) dependence() string {
	if f.windows.kind == noWindows {
		return ""
	}
	emit := "on update"
	if f.emit == OnClose {
		emit = "on close"
	}
	return fmt.Sprintf("%s, grace %v, emitted %s", f.windows, f.grace, emit)
}

// String describes the windows.
func (w Windows) String() string {
	place := "UTC"
	if w.loc != nil {
		place = w.loc.String()
	}
	switch w.kind {
	case noWindows:
		return "no windows"
	case hopping:
		if w.advance == w.size {
			return fmt.Sprintf("tumbling windows of %v", w.size)
		}
		return fmt.Sprintf("hopping windows of %v every %v", w.size, w.advance)
	case sliding:
		return fmt.Sprintf("sliding windows of %v", w.size)
	case session:
		if w.maxLength > 0 {
			return fmt.Sprintf("sessions with gaps of %v, up to %v long", w.size, w.maxLength)
		}
		return fmt.Sprintf("sessions with gaps of %v", w.size)
	case daily:
		return "days in " + place
	case weekly:
		return fmt.Sprintf("weeks from %s on in %s", w.first, place)
	default:
		return "months in " + place
	}
}

// noteState remembers what the tasks of a sub-topology keep, from the task that Build has made.
func (sub *subTopology) noteState(task *engine.Task) {
	sub.stores = nil
	for _, s := range task.StoreKinds() {
		operator, _, _ := strings.Cut(s.Name, ".")
		row := storeShape{Name: s.Name, Kind: s.Kind}
		if values, ok := sub.values[s.Name]; ok {
			row.Values = &values
		}
		for _, v := range sub.vertices {
			if v.name == operator {
				row.Depends = v.depends
			}
		}
		sub.stores = append(sub.stores, row)
	}
}

// shape returns what the state of the topology depends on, in a fixed order.
func (t *Topology) shape() shape {
	var s shape
	for _, sub := range t.subs {
		one := subShape{Name: sub.name, Partitions: sub.partitions, Stores: slices.Clone(sub.stores)}
		for _, in := range sub.plan.Inputs {
			one.Inputs = append(one.Inputs, in.Topic.Name)
		}
		slices.Sort(one.Inputs)
		slices.SortFunc(one.Stores, func(a, b storeShape) int { return cmp.Compare(a.Name, b.Name) })
		s.Subs = append(s.Subs, one)
	}
	slices.SortFunc(s.Subs, func(a, b subShape) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// markShape lets every commit say what shape of the state it is of.
func (t *Topology) markShape() {
	mark := t.shape().fingerprint()
	for _, sub := range t.subs {
		sub.plan.Shape = mark
	}
}

// fingerprint tells shapes apart.
func (s shape) fingerprint() uint64 {
	data, _ := json.Marshal(s) // strings and numbers cannot fail
	sum := sha256.Sum256(data)
	return binary.BigEndian.Uint64(sum[:])
}

func (s shape) equal(other shape) bool {
	a, _ := json.Marshal(s) // strings and numbers cannot fail
	b, _ := json.Marshal(other)
	return bytes.Equal(a, b)
}

func (s shape) sub(name string) *subShape {
	i, ok := slices.BinarySearchFunc(s.Subs, name, func(sub subShape, name string) int { return cmp.Compare(sub.Name, name) })
	if !ok {
		return nil
	}
	return &s.Subs[i]
}

// against lists what keeps a topology of shape now from going on with what one of shape s has left.
func (s shape) against(now shape) []Conflict {
	var all []Conflict
	for _, old := range s.Subs {
		next := now.sub(old.Name)
		if next == nil {
			all = append(all, Conflict{
				Part: old.Name, partitions: old.Partitions,
				Was:  fmt.Sprintf("it read %s", strings.Join(old.Inputs, ", ")),
				Is:   "it is not there any more (it is named after the first of its topics in the alphabet)",
				Plan: "bring it back, with the same topics",
			})
			continue
		}
		all = append(all, old.against(next)...)
	}
	return all
}

func (s subShape) against(now *subShape) (all []Conflict) {
	conflict := func(was, is, plan string) {
		all = append(all, Conflict{Part: s.Name, Was: was, Is: is, Plan: plan, partitions: s.Partitions})
	}
	if s.Partitions != now.Partitions {
		conflict(fmt.Sprintf("it had %d partitions", s.Partitions), fmt.Sprintf("it has %d: keys would meet state of others", now.Partitions),
			fmt.Sprintf("declare %d partitions again", s.Partitions))
	}
	for _, in := range s.Inputs {
		if !slices.Contains(now.Inputs, in) {
			conflict("it read topic "+in, "it does not any more: its position would be lost", "read the topic again, and drop what comes with a Filter")
		}
	}
	for _, old := range s.Stores {
		i := slices.IndexFunc(now.Stores, func(n storeShape) bool { return n.Name == old.Name })
		if i < 0 {
			conflict("it had state in "+old.Name, "nothing of that name is there: the state would be lost", "bring the operator back under its name, or keep its store unused")
			continue
		}
		next := now.Stores[i]
		if old.Kind != "" && next.Kind != "" && old.Kind != next.Kind {
			conflict(old.Name+" was a "+old.Kind+" store", "it is a "+next.Kind+" store", "give the new store another name and keep the old one unused")
			continue
		}
		if old.Depends != next.Depends {
			conflict(old.Name+" was made with: "+or(old.Depends, "nothing said"), "it says: "+or(next.Depends, "nothing"),
				"go back to what it was, or give the operator a new name under a new app name")
		}
		if old.Values != nil && next.Values != nil {
			for _, c := range old.Values.against(*next.Values, "") {
				conflict(old.Name+": "+c.was, c.is, c.plan)
			}
		}
	}
	return all
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
