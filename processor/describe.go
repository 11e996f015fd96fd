package processor

import (
	"fmt"
	"strings"
)

// String describes the topology, one operator a line, in the order in which it was written, and whatever is not as usual: failure
// policies, the dead letter topic. The same topology always gives the same text.
func (t *Topology) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "topology %s\n", t.app)
	for _, sub := range t.subs {
		fmt.Fprintf(&s, "  sub-topology %s, %d partitions\n", sub.name, sub.partitions)
		labels := make(map[*vertex]string)
		for i, v := range sub.vertices {
			labels[v] = fmt.Sprintf("%d", i+1)
			fmt.Fprintf(&s, "    %s %s", labels[v], v.describe())
			for j, p := range v.parents {
				fmt.Fprintf(&s, "%s%s", []string{" <- ", ", "}[min(j, 1)], labels[p])
			}
			s.WriteByte('\n')
		}
	}
	for _, g := range t.globals {
		fmt.Fprintf(&s, "  %s, %d partitions, in every instance\n", g.label(), g.topic.Partitions)
	}
	if t.policy != (policy{}) {
		fmt.Fprintf(&s, "  on failure: %s\n", t.policy)
	}
	if t.sendsDeadLetters() && t.deadLetters.Name != defaultDeadLetters(t.app) {
		fmt.Fprintf(&s, "  dead letters to topic %s\n", t.deadLetters.Name)
	}
	return s.String()
}

func (v *vertex) describe() string {
	text := v.label()
	switch v.kind {
	case kindKeyBy, kindRepartition:
		text += " (topic " + v.topic.Name + ")"
	case kindProcess:
		if len(v.stores) > 0 {
			text += " (stores " + strings.Join(v.stores, ", ") + ")"
		}
		for _, g := range v.globals {
			text += " (looks up " + g.label() + ")"
		}
	}
	if v.ownPolicy {
		text += " (on failure: " + v.policy.String() + ")"
	}
	return text
}

// Mermaid describes the topology as a flowchart for https://mermaid.js.org: topics are rounded, stores are drums, sub-topologies
// are boxes; a dotted line leads from each that may send dead letters to their topic. The same topology always gives the same
// text.
func (t *Topology) Mermaid() string {
	m := mermaid{topics: make(map[string]string)}
	m.line("flowchart TD")
	for i, sub := range t.subs {
		m.subTopology(fmt.Sprintf("s%d", i+1), sub)
	}
	for _, edge := range m.edges {
		m.line("  %s", edge)
	}
	if t.sendsDeadLetters() {
		letters := m.topic(t.deadLetters.Name)
		for i, sub := range t.subs {
			if sub.sendsDeadLetters() {
				m.line("  s%d -. dead letters .-> %s", i+1, letters)
			}
		}
	}
	return m.text.String()
}

// mermaid writes a flowchart: topics first, as they are met, so that they lie outside of the boxes.
type mermaid struct {
	text   strings.Builder
	topics map[string]string // name to node
	edges  []string          // between topics and operators, and between operators
}

func (m *mermaid) line(format string, args ...any) { fmt.Fprintf(&m.text, format+"\n", args...) }

// topic returns the node of a topic and writes it at its first use.
func (m *mermaid) topic(name string) string {
	node, ok := m.topics[name]
	if !ok {
		node = fmt.Sprintf("t%d", len(m.topics)+1)
		m.topics[name] = node
		m.line(`  %s(["%s"])`, node, mermaidText(name))
	}
	return node
}

func (m *mermaid) subTopology(id string, sub *subTopology) {
	nodes := make(map[*vertex]string)
	for i, v := range sub.vertices {
		nodes[v] = fmt.Sprintf("%sv%d", id, i+1)
		switch v.kind {
		case kindSource, kindRepartition:
			m.edge(m.topic(v.topic.Name), nodes[v])
		case kindSink, kindKeyBy:
			m.edge(nodes[v], m.topic(v.topic.Name))
		}
		for _, p := range v.parents {
			m.edge(nodes[p], nodes[v])
		}
		for _, g := range v.globals {
			m.edges = append(m.edges, m.topic(g.topic.Name)+" -. rows .-> "+nodes[v])
		}
	}
	m.line(`  subgraph %s["%s, %d partitions"]`, id, mermaidText(sub.name), sub.partitions)
	for _, v := range sub.vertices {
		text := v.label()
		if v.ownPolicy {
			text += "\non failure: " + v.policy.String()
		}
		m.line(`    %s["%s"]`, nodes[v], mermaidText(text))
		for i, store := range v.stores {
			m.line(`    %sd%d[("%s")]`, nodes[v], i+1, mermaidText(store))
			m.line(`    %s --- %sd%d`, nodes[v], nodes[v], i+1)
		}
	}
	m.line("  end")
}

func (m *mermaid) edge(from, to string) { m.edges = append(m.edges, from+" --> "+to) }

// mermaidText makes text fit between the quotes of a label, in which Mermaid looks for quotes, entities, markup and, between
// backquotes, Markdown.
func mermaidText(s string) string { return mermaidEscapes.Replace(s) }

var mermaidEscapes = strings.NewReplacer(
	`"`, "#quot;", "#", "#35;", "&", "#amp;", "<", "#lt;", ">", "#gt;", "`", "#96;", `\`, "#92;", "\n", "<br/>", "\r", " ", "\t", " ", ";", "#59;",
)
