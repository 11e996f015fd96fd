package schemas

import (
	"maps"
	"math/big"
	"reflect"
	"regexp"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// falseSchema refuses everything.
var falseSchema = closedAt(&jsonschema.Schema{}, "")

// closedAt refuses everything, as a keyword of another schema does.
func closedAt(s *jsonschema.Schema, keyword string) *jsonschema.Schema {
	no := false
	return &jsonschema.Schema{Always: &no, Location: s.Location + "/" + keyword}
}

// impossible says that there is no value that all facts take. It may miss that.
func (p *prover) impossible(k known) bool {
	if p.spent() {
		return false
	}
	if values, finite := p.values(k); finite {
		return len(values) == 0
	}
	if k.kind == anyKind {
		for kind := nullKind; kind <= objectKind; kind++ {
			if k.allows(kind) && !p.impossible(k.as(kind)) {
				return false
			}
		}
		return true
	}
	if !k.allows(k.kind) || p.impossibleChoice(k) {
		return true
	}
	switch k.kind {
	case numberKind:
		low, high := k.lower(), k.upper()
		if low.value == nil || high.value == nil {
			return false
		}
		c := low.value.Cmp(high.value)
		return c > 0 || c == 0 && (low.open || high.open)
	case stringKind:
		least, most := k.length()
		return most >= 0 && least > most
	case arrayKind:
		return p.impossibleArray(k)
	case objectKind:
		return p.impossibleObject(k.withDependents())
	}
	return false
}

// impossibleChoice says that the value is what a fact excludes, or fits no alternative.
func (p *prover) impossibleChoice(k known) bool {
	for _, f := range k.facts {
		if f.Not != nil && p.isExcluded(k, f) {
			return true
		}
		for _, branches := range [][]*jsonschema.Schema{f.AnyOf, f.OneOf} {
			if branches != nil && !slices.Contains(k.apart, f) {
				apart := k
				apart.apart = append(slices.Clone(k.apart), f)
				if !slices.ContainsFunc(branches, func(b *jsonschema.Schema) bool { return !p.impossible(apart.with(b)) }) {
					return true
				}
			}
		}
	}
	return false
}

// isExcluded says that what is known makes the value one that f's not excludes.
func (p *prover) isExcluded(k known, f *jsonschema.Schema) bool {
	key := "not " + k.key(f)
	if _, asking := p.proving[key]; asking {
		return false
	}
	p.proving[key] = p.depth
	defer delete(p.proving, key)
	return len(p.prove(k, f.Not, "")) == 0
}

func (p *prover) impossibleArray(k known) bool {
	least, most := k.count()
	if most >= 0 && least > most {
		return true
	}
	if p.depth >= maxNesting {
		return false
	}
	for i := range min(least, k.places()+1) {
		facts, _ := k.itemAt(i)
		if p.impossibleBelow(facts) {
			return true
		}
	}
	return false
}

func (p *prover) impossibleObject(k known) bool {
	least, most := k.size()
	if most >= 0 && least > most {
		return true
	}
	for _, name := range slices.Sorted(maps.Keys(k.required())) {
		facts, absent := k.memberOf(name)
		if absent || p.depth < maxNesting && p.impossibleBelow(facts) {
			return true
		}
	}
	return false
}

func (p *prover) impossibleBelow(facts []*jsonschema.Schema) bool {
	p.depth++
	defer func() { p.depth-- }()
	return p.impossible(newKnown(facts...))
}

type pair struct{ a, b *jsonschema.Schema }

// equal says that two schemas are written alike, but for what they say to people. It may miss that.
func (p *prover) equal(a, b *jsonschema.Schema) bool {
	if a == b || a == nil || b == nil {
		return a == b
	}
	if same, ok := p.same[pair{a, b}]; ok {
		return same
	}
	same := alike(a, b, map[pair]bool{})
	p.same[pair{a, b}] = same
	return same
}

// equalAll says that two lists hold the same schemas, each as often, in any order.
func (p *prover) equalAll(a, b []*jsonschema.Schema) bool {
	rest := slices.Clone(b)
	for _, s := range a {
		i := slices.IndexFunc(rest, func(t *jsonschema.Schema) bool { return p.equal(s, t) })
		if i < 0 {
			return false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return len(rest) == 0
}

// alike compares field by field. Pairs that are being compared count as alike: schemas that lead back to themselves in the same way
// say the same.
func alike(a, b *jsonschema.Schema, comparing map[pair]bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	if comparing[pair{a, b}] {
		return true
	}
	comparing[pair{a, b}] = true
	if a.DynamicRef != nil || b.DynamicRef != nil || a.RecursiveRef != nil || b.RecursiveRef != nil {
		return false
	}
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range x.NumField() {
		field := x.Type().Field(i)
		if !field.IsExported() || slices.Contains(neutral, field.Name) || field.Name == "DynamicAnchor" {
			continue
		}
		if !alikeFields(x.Field(i).Interface(), y.Field(i).Interface(), comparing) {
			return false
		}
	}
	return true
}

func alikeFields(x, y any, comparing map[pair]bool) bool {
	if x == nil || y == nil {
		return x == nil && y == nil
	}
	if reflect.TypeOf(x) != reflect.TypeOf(y) {
		return false
	}
	alikeSchemas := func(a, b *jsonschema.Schema) bool { return alike(a, b, comparing) }
	switch x := x.(type) {
	case *jsonschema.Schema:
		return alikeSchemas(x, y.(*jsonschema.Schema))
	case []*jsonschema.Schema:
		return slices.EqualFunc(x, y.([]*jsonschema.Schema), alikeSchemas)
	case map[string]*jsonschema.Schema:
		return maps.EqualFunc(x, y.(map[string]*jsonschema.Schema), alikeSchemas)
	case map[string]any:
		return maps.EqualFunc(x, y.(map[string]any), func(a, b any) bool { return alikeFields(a, b, comparing) })
	case map[*regexp.Regexp]*jsonschema.Schema:
		return maps.EqualFunc(byText(x), byText(y.(map[*regexp.Regexp]*jsonschema.Schema)), alikeSchemas)
	case *regexp.Regexp:
		other := y.(*regexp.Regexp)
		return x == other || x != nil && other != nil && x.String() == other.String()
	case *big.Rat:
		other := y.(*big.Rat)
		return x == other || x != nil && other != nil && x.Cmp(other) == 0
	}
	return reflect.DeepEqual(x, y)
}

func byText(patterns map[*regexp.Regexp]*jsonschema.Schema) map[string]*jsonschema.Schema {
	all := make(map[string]*jsonschema.Schema, len(patterns))
	for re, s := range patterns {
		all[re.String()] = s
	}
	return all
}
