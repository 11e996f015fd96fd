package schemas

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// AcceptsAllOf proves that every document that is valid under other is valid under s. The error is a *NarrowerError that says what
// s would refuse.
//
// The proof is sound and not complete: nil is a promise, while an error may say that a rule could not be decided (Loss.Undecided).
// It goes keyword by keyword: each rule of s has to follow from the rules of other that hold at the same place. Types, anyOf, oneOf,
// and if of other are taken apart case by case; enum, const, null and booleans are tried value by value. pattern, format, contains
// and uniqueItems follow from the same keyword with the same argument. $ref is followed, also where it leads back; $dynamicRef is
// decided only between schemas that are the same.
func (s *Schema) AcceptsAllOf(other *Schema) error {
	p := &prover{same: map[pair]bool{}, proving: map[string]int{}}
	losses := p.prove(newKnown(other.compiled), s.compiled, "")
	if len(losses) == 0 {
		return nil
	}
	losses = gathered(losses)
	e := &NarrowerError{Schema: s.name, Other: other.name, Losses: losses}
	if len(losses) > maxBreaches {
		e.Losses, e.More = losses[:maxBreaches:maxBreaches], len(losses)-maxBreaches
	}
	return e
}

// gathered puts losses in order, and all types that one rule refuses in one place into one.
func gathered(losses []Loss) []Loss {
	var all []Loss
	for _, l := range losses {
		i := slices.IndexFunc(all, func(had Loss) bool { return had.Field == l.Field && had.Rule == l.Rule && had.Undecided == l.Undecided })
		if i >= 0 && !l.Undecided {
			if had := &all[i]; !strings.Contains(had.Message, l.Message) {
				had.Message += " or " + strings.TrimPrefix(l.Message, "may be ")
			}
		} else if !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b Loss) int {
		return cmp.Or(comparePointers(a.Field, b.Field), strings.Compare(a.Rule, b.Rule))
	})
	return all
}

// Loss is something that one schema accepts and another one may refuse.
type Loss struct {
	// Field is the JSON pointer (RFC 6901) of where in a document; "*" stands for any other name or index. Empty is the whole document.
	Field string
	// Rule is the place in the refusing schema, for example "properties/value/type".
	Rule string
	// Message says what a document may be there that the rule refuses.
	Message string
	// Undecided says that the rules could not be compared: there may be no such document.
	Undecided bool
}

// NarrowerError says that a schema does not accept all documents that another one does, or that this could not be proved.
type NarrowerError struct {
	// Schema is the name of the schema that refuses, Other of the one that accepts.
	Schema, Other string
	// Losses are what is refused, in the order of their fields, ten at most.
	Losses []Loss
	// More is how many losses were left out.
	More int
}

// Error implements error, in one line.
func (e *NarrowerError) Error() string {
	return fmt.Sprintf("schemas: %s does not accept all that %s does: %s", e.Schema, e.Other, e.Explain())
}

// Explain lists the losses in one line.
func (e *NarrowerError) Explain() string {
	parts := make([]string, 0, len(e.Losses)+1)
	for _, l := range e.Losses {
		field := l.Field
		if field == "" {
			field = "the document"
		}
		parts = append(parts, fmt.Sprintf("%s %s (%s)", shorten(field), shorten(l.Message), shorten(l.Rule)))
	}
	if e.More > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", e.More))
	}
	return oneLine(strings.Join(parts, "; "))
}

const (
	// maxSteps bounds a proof, to about a second; what takes longer is undecided.
	maxSteps = 20_000
	// maxNesting bounds how deep below the document a proof looks for what cannot be there at all.
	maxNesting = 8
)

// kind is a type of JSON values; integers are numbers.
type kind int

const (
	anyKind kind = iota
	nullKind
	boolKind
	numberKind
	stringKind
	arrayKind
	objectKind
)

func (k kind) String() string {
	return [...]string{"anything", "null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// known is what is known of a value: the schemas under which it is valid. It is not changed but copied.
type known struct {
	facts []*jsonschema.Schema // with what they refer to
	kind  kind
	// present are properties that are there, for another reason than a fact's required.
	present []string
	// apart are facts whose alternatives have been taken apart.
	apart []*jsonschema.Schema
}

func newKnown(facts ...*jsonschema.Schema) known { return known{}.with(facts...) }

// with adds schemas, and all that holds with them.
func (k known) with(more ...*jsonschema.Schema) known {
	k.facts = slices.Clone(k.facts)
	for _, s := range more {
		k.add(s)
	}
	return k
}

func (k *known) add(s *jsonschema.Schema) {
	if s == nil || slices.Contains(k.facts, s) {
		return
	}
	k.facts = append(k.facts, s)
	k.add(s.Ref)
	for _, part := range s.AllOf {
		k.add(part)
	}
}

func (k known) as(kind kind) known {
	k.kind = kind
	return k
}

func (k known) having(name string) known {
	k.present = append(slices.Clone(k.present), name)
	return k
}

// key identifies what is known.
func (k known) key(goal *jsonschema.Schema) string {
	ids := make([]string, 0, len(k.facts))
	for _, f := range k.facts {
		ids = append(ids, fmt.Sprintf("%p", f))
	}
	slices.Sort(ids)
	apart := make([]string, 0, len(k.apart))
	for _, f := range k.apart {
		apart = append(apart, fmt.Sprintf("%p", f))
	}
	return fmt.Sprintf("%v %d %q %v %p", ids, k.kind, k.present, apart, goal)
}

// prover proves that what is known of a value makes it valid under a schema.
type prover struct {
	steps int
	depth int // below the document
	same  map[pair]bool
	// proving are the proofs that are not finished, and their depths.
	proving map[string]int
}

func (p *prover) spent() bool {
	p.steps++
	return p.steps > maxSteps
}

func lossAt(at string, goal *jsonschema.Schema, keyword, message string) []Loss {
	return []Loss{{Field: at, Rule: ruleOf(goal, keyword), Message: message}}
}

func undecided(at string, goal *jsonschema.Schema, keyword, message string) []Loss {
	return []Loss{{Field: at, Rule: ruleOf(goal, keyword), Message: "cannot be decided: " + message, Undecided: true}}
}

func ruleOf(goal *jsonschema.Schema, keyword string) string {
	_, place, _ := strings.Cut(goal.Location, "#")
	return strings.Trim(unescape(place)+"/"+keyword, "/")
}

// prove gives what goal may refuse of the values that k knows.
func (p *prover) prove(k known, goal *jsonschema.Schema, at string) []Loss {
	if p.spent() {
		return undecided(at, goal, "", "the schemas are too large to compare")
	}
	if goal.Always != nil && *goal.Always || slices.ContainsFunc(k.facts, func(f *jsonschema.Schema) bool { return p.equal(f, goal) }) {
		return nil
	}
	if isFalse(goal) {
		if p.impossible(k) {
			return nil
		}
		return lossAt(at, goal, "", "may be there")
	}
	if values, finite := p.values(k); finite {
		return p.tryAll(values, goal, at)
	}
	key := k.key(goal)
	if depth, ok := p.proving[key]; ok {
		if depth < p.depth {
			return nil // by induction: it is the same question about a part of the value
		}
		return undecided(at, goal, "", "the schema leads back to itself")
	}
	p.proving[key] = p.depth
	defer delete(p.proving, key)
	if k.kind == anyKind {
		var losses []Loss
		for kind := nullKind; kind <= objectKind; kind++ {
			if k.allows(kind) {
				losses = append(losses, p.prove(k.as(kind), goal, at)...)
			}
		}
		return losses
	}
	if p.impossible(k) {
		return nil
	}
	losses := p.follows(k, goal, at)
	if len(losses) == 0 {
		return nil
	}
	return p.proveApart(k, goal, at, losses)
}

// proveApart takes the first alternatives among the facts apart, and proves goal for each. losses are what is said without.
func (p *prover) proveApart(k known, goal *jsonschema.Schema, at string, losses []Loss) []Loss {
	for _, f := range k.facts {
		branches := alternatives(f)
		if branches == nil || slices.Contains(k.apart, f) {
			continue
		}
		k.apart = append(slices.Clone(k.apart), f)
		for _, branch := range branches {
			if l := p.prove(k.with(branch...), goal, at); len(l) > 0 {
				return l
			}
		}
		return nil
	}
	return losses
}

// alternatives are groups of schemas; values valid under f are valid under one group at least.
func alternatives(f *jsonschema.Schema) [][]*jsonschema.Schema {
	var groups [][]*jsonschema.Schema
	cross := func(options [][]*jsonschema.Schema) {
		if groups == nil {
			groups = options
			return
		}
		var all [][]*jsonschema.Schema
		for _, a := range groups {
			for _, b := range options {
				all = append(all, slices.Concat(a, b))
			}
		}
		groups = all
	}
	one := func(branches []*jsonschema.Schema) {
		var options [][]*jsonschema.Schema
		for _, b := range branches {
			options = append(options, []*jsonschema.Schema{b})
		}
		if options != nil {
			cross(options)
		}
	}
	one(f.AnyOf)
	one(f.OneOf)
	if f.If != nil {
		cross([][]*jsonschema.Schema{{f.If, f.Then}, {f.Else}})
	}
	if len(groups) > maxSteps/10 {
		return nil
	}
	return groups
}

// allows says whether a value of that type may be there.
func (k known) allows(kind kind) bool {
	for _, f := range k.facts {
		if f.Always != nil && !*f.Always || !takesKind(f, kind) {
			return false
		}
	}
	return k.kind == anyKind || k.kind == kind
}

// takesKind says whether the type of s leaves room for values of a kind.
func takesKind(s *jsonschema.Schema, k kind) bool {
	if len(s.Types) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Types, func(t string) bool { return kindOf(t) == k })
}

func kindOf(name string) kind {
	switch name {
	case "null":
		return nullKind
	case "boolean":
		return boolKind
	case "number", "integer":
		return numberKind
	case "string":
		return stringKind
	case "array":
		return arrayKind
	}
	return objectKind
}

// wholeOnly says whether s takes no number with a fraction.
func wholeOnly(s *jsonschema.Schema) bool {
	return len(s.Types) > 0 && !slices.Contains(s.Types, "number")
}

// values gives all values that there can be, where they are few.
func (p *prover) values(k known) ([]any, bool) {
	var values []any
	found := false
	for _, f := range k.facts {
		switch {
		case f.Constant != nil:
			values, found = f.Constant, true
		case f.Enum != nil && (!found || len(f.Enum) < len(values)):
			values, found = f.Enum, true
		}
	}
	if !found {
		switch k.kind {
		case nullKind:
			values = []any{nil}
		case boolKind:
			values = []any{false, true}
		default:
			return nil, false
		}
	}
	var valid []any
	for _, v := range values {
		if k.kind != anyKind && kindOfValue(v) != k.kind {
			continue
		}
		if k.mayBe(v) {
			valid = append(valid, v)
		}
	}
	return valid, true
}

// mayBe says whether all facts take a value, or whether that cannot be said.
func (k known) mayBe(v any) bool {
	for _, f := range k.facts {
		if takes, ok := judge(f, v); ok && !takes {
			return false
		}
	}
	return true
}

// judge asks the library; not ok is that it cannot say out of context.
func judge(s *jsonschema.Schema, v any) (valid, ok bool) {
	defer func() {
		if recover() != nil {
			valid, ok = false, false
		}
	}()
	return s.Validate(v) == nil, true
}

func kindOfValue(v any) kind {
	switch v.(type) {
	case nil:
		return nullKind
	case bool:
		return boolKind
	case string:
		return stringKind
	case []any:
		return arrayKind
	case map[string]any:
		return objectKind
	}
	return numberKind
}

// tryAll proves goal for each of the values.
func (p *prover) tryAll(values []any, goal *jsonschema.Schema, at string) []Loss {
	var refused []string
	for _, v := range values {
		if valid, ok := judge(goal, v); !valid || !ok {
			refused = append(refused, shorten(textOf(v)))
		}
	}
	if refused == nil {
		return nil
	}
	keyword := ""
	switch {
	case goal.Enum != nil:
		keyword = "enum"
	case goal.Constant != nil:
		keyword = "const"
	case len(goal.Types) > 0:
		keyword = "type"
	}
	return lossAt(at, goal, keyword, "may be "+strings.Join(refused, " or "))
}
