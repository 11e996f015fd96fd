package alerting

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rossby-streams/rossby/processor"
)

// identity is what tells the alarms of one rule apart.
type identity struct {
	// store is the key under which its state and timers are kept: key itself, unless records give labels.
	store, key string
	// labels are those of the rule and of the record together. They belong to everybody.
	labels map[string]string
}

func (t *threshold[V]) identify(r *processor.Record[V]) identity {
	if t.rule.By == nil {
		return identity{store: t.prefix + r.Key, key: r.Key, labels: t.rule.Labels}
	}
	return t.labelled(r.Key, t.rule.By(r.Value))
}

func (t *threshold[V]) labelled(key string, by map[string]string) identity {
	var b strings.Builder
	b.WriteString(t.prefix)
	writeText(&b, key)
	for _, name := range slices.Sorted(maps.Keys(by)) {
		writeText(&b, name)
		writeText(&b, by[name])
	}
	labels := make(map[string]string, len(t.rule.Labels)+len(by))
	maps.Copy(labels, t.rule.Labels)
	for name, value := range by {
		labels[strings.ToValidUTF8(name, "\uFFFD")] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return identity{store: b.String(), key: key, labels: labels}
}

// identified is the identity that belongs to the key of a timer.
func (t *threshold[V]) identified(store string) identity {
	own := strings.TrimPrefix(store, t.prefix)
	if t.rule.By == nil {
		return identity{store: store, key: own, labels: t.rule.Labels}
	}
	key, rest := readText(own)
	by := make(map[string]string)
	for rest != "" {
		var name, value string
		name, rest = readText(rest)
		value, rest = readText(rest)
		by[name] = value
	}
	id := t.labelled(key, by)
	id.store = store
	return id
}

func writeText(b *strings.Builder, text string) {
	b.WriteString(strconv.Itoa(len(text)))
	b.WriteByte(':')
	b.WriteString(text)
}

// readText is the inverse of writeText; what it has not written is its own text.
func readText(s string) (text, rest string) {
	length, after, _ := strings.Cut(s, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > len(after) {
		return s, ""
	}
	return after[:n], after[n:]
}
