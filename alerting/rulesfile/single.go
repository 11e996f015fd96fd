package rulesfile

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/internal/document"
)

// ParseRule reads the text of one rule, JSON or YAML: the fields of a rule of a file, of which name may be left out, and "from", the
// event time from which on the rule holds. It is what alerting.Live reads rules with. Errors are those of Parse.
func ParseRule[V any](name, text string, model Model[V]) (alerting.Loaded[V], error) {
	if err := model.validate(); err != nil {
		return alerting.Loaded[V]{}, err
	}
	root, err := document.Parse([]byte(text), `a rule, such as {"metric":"cpu_percent","above":80}`)
	if err != nil {
		return alerting.Loaded[V]{}, asError(err)
	}
	loaded, err := model.single(name, root)
	if err != nil {
		return alerting.Loaded[V]{}, asError(err)
	}
	return loaded, nil
}

// lastYear is the last one that a rule may wait for; timers know no time after 2262.
const lastYear = 2200

func (m *Model[V]) single(name string, node *document.Node) (loaded alerting.Loaded[V], err error) {
	if node.Kind == document.Object {
		if i := slices.Index(node.Names, "from"); i >= 0 {
			if loaded.From, err = node.Items[i].AsTime(); err != nil {
				return loaded, err
			}
			if loaded.From.Year() > lastYear {
				return loaded, node.Items[i].Errorf("it is too far ahead: write a time up to the year %d", lastYear)
			}
			node.Names, node.Items = slices.Delete(node.Names, i, i+1), slices.Delete(node.Items, i, i+1)
		}
		if !slices.Contains(node.Names, "name") {
			node.Names = append(node.Names, "name")
			node.Items = append(node.Items, &document.Node{Kind: document.String, Text: name, Pointer: "/name", Line: node.Line, Column: node.Column})
		}
	}
	r, err := m.rule(node)
	if err != nil {
		return loaded, err
	}
	if r.rule.Name != name {
		return loaded, r.fields["name"].Errorf("the rule is kept as %q: call it so, or leave its name out", name)
	}
	if m.MaxWithin > 0 && r.context.Within > m.MaxWithin {
		where := r.node
		if n, ok := r.fields["context"]; ok {
			where = n
		}
		return loaded, where.Errorf("lines within %v are asked for: there are those within %v", r.context.Within, m.MaxWithin)
	}
	loaded.Rule, loaded.Series = r.rule, r.series
	loaded.Basis, err = r.basis()
	return loaded, err
}

// basisNames are the fields that say what the alarms of a rule are about. The others say when it is bad, and what is told of it.
var basisNames = []string{"metric", "value", "over", "per", "every", "lookback", "absent_for", "labels"}

func (r *reading[V]) basis() (string, error) {
	all := make(map[string]any)
	for _, name := range basisNames {
		if n, ok := r.fields[name]; ok {
			all[name] = n.Plain()
		}
	}
	all["every"] = r.rule.Every / time.Nanosecond
	text, err := json.Marshal(all)
	if err != nil {
		return "", r.node.Errorf("%v", err)
	}
	return string(text), nil
}
