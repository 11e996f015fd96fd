package schemas

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// memberOf gives what is known of the member of that name, and whether it cannot be there.
func (k known) memberOf(name string) (facts []*jsonschema.Schema, absent bool) {
	for _, f := range k.facts {
		named := false
		if s, ok := f.Properties[name]; ok {
			facts, named = append(facts, s), true
		}
		for re, s := range f.PatternProperties {
			if re.MatchString(name) {
				facts, named = append(facts, s), true
			}
		}
		if !named {
			switch extra := f.AdditionalProperties.(type) {
			case bool:
				absent = absent || !extra
			case *jsonschema.Schema:
				facts = append(facts, extra)
			case nil:
				if f.UnevaluatedProperties != nil && !seenBy(f).has(name) {
					facts = append(facts, f.UnevaluatedProperties)
				}
			}
		}
		if f.PropertyNames != nil {
			if valid, ok := judge(f.PropertyNames, name); ok && !valid {
				absent = true
			}
		}
	}
	return facts, absent || slices.ContainsFunc(facts, isFalse)
}

func isFalse(s *jsonschema.Schema) bool { return s.Always != nil && !*s.Always }

// otherMember gives what is known of members that no fact names: of those that match a pattern, or, where that is empty, of those that
// match no pattern of any fact.
func (k known) otherMember(pattern string) (facts []*jsonschema.Schema, absent bool) {
	for _, f := range k.facts {
		s := patternOf(f, pattern)
		switch {
		case pattern != "" && s != nil:
			facts = append(facts, s)
			continue
		case pattern != "" && len(f.PatternProperties) > 0:
			continue // whether it matches those too is not known
		}
		switch extra := f.AdditionalProperties.(type) {
		case bool:
			absent = absent || !extra
		case *jsonschema.Schema:
			facts = append(facts, extra)
		case nil:
			if seen := seenBy(f); f.UnevaluatedProperties != nil && !seen.all && len(seen.patterns) == len(f.PatternProperties) {
				facts = append(facts, f.UnevaluatedProperties)
			}
		}
	}
	return facts, absent || slices.ContainsFunc(facts, isFalse)
}

func patternOf(s *jsonschema.Schema, pattern string) *jsonschema.Schema {
	for re, sub := range s.PatternProperties {
		if re.String() == pattern {
			return sub
		}
	}
	return nil
}

// seen are the members that a schema and its parts may look at; unevaluatedProperties is about the others.
type seen struct {
	names    map[string]bool
	patterns []*regexp.Regexp
	all      bool
}

func (s seen) has(name string) bool {
	return s.all || s.names[name] || slices.ContainsFunc(s.patterns, func(re *regexp.Regexp) bool { return re.MatchString(name) })
}

func seenBy(s *jsonschema.Schema) seen {
	all := seen{names: map[string]bool{}}
	for part := range inPlace(s) {
		for name := range part.Properties {
			all.names[name] = true
		}
		for re := range part.PatternProperties {
			all.patterns = append(all.patterns, re)
		}
		if part.AdditionalProperties != nil || part.RecursiveRef != nil || part.DynamicRef != nil || part != s && part.UnevaluatedProperties != nil {
			all.all = true
		}
	}
	return all
}

// inPlace are s and all schemas that it applies to the same value.
func inPlace(s *jsonschema.Schema) map[*jsonschema.Schema]bool {
	found := map[*jsonschema.Schema]bool{}
	var add func(s *jsonschema.Schema)
	add = func(s *jsonschema.Schema) {
		if s == nil || found[s] {
			return
		}
		found[s] = true
		for _, sub := range appliedInPlace(s) {
			add(sub)
		}
	}
	add(s)
	return found
}

// appliedInPlace are the schemas that s itself applies to the same value.
func appliedInPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	all := slices.Concat([]*jsonschema.Schema{s.Ref, s.RecursiveRef, s.DynamicRef, s.Not, s.If, s.Then, s.Else}, s.AllOf, s.AnyOf, s.OneOf)
	all = slices.AppendSeq(all, maps.Values(s.DependentSchemas))
	for _, d := range s.Dependencies {
		if sub, ok := d.(*jsonschema.Schema); ok {
			all = append(all, sub)
		}
	}
	return slices.DeleteFunc(all, func(s *jsonschema.Schema) bool { return s == nil })
}

// names are the members that any fact speaks of by name.
func (k known) names() []string {
	all := map[string]bool{}
	for _, f := range k.facts {
		for name := range f.Properties {
			all[name] = true
		}
		if f.UnevaluatedProperties != nil {
			maps.Copy(all, seenBy(f).names)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (k known) patterns() []string {
	all := map[string]bool{}
	for _, f := range k.facts {
		for re := range f.PatternProperties {
			all[re.String()] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// required are the members that must be there.
func (k known) required() map[string]bool {
	all := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if all[name] {
			return
		}
		all[name] = true
		for _, f := range k.facts {
			for _, other := range dependents(f, name) {
				add(other)
			}
		}
	}
	for _, name := range k.present {
		add(name)
	}
	for _, f := range k.facts {
		for _, name := range f.Required {
			add(name)
		}
	}
	return all
}

// dependents are the members that must be there if the one of that name is.
func dependents(s *jsonschema.Schema, name string) []string {
	if names, ok := s.Dependencies[name].([]string); ok {
		return names
	}
	return s.DependentRequired[name]
}

// dependentSchemas are what s demands of the object if the member of that name is there.
func dependentSchemas(s *jsonschema.Schema) map[string]*jsonschema.Schema {
	all := maps.Clone(s.DependentSchemas)
	for name, d := range s.Dependencies {
		if sub, ok := d.(*jsonschema.Schema); ok {
			if all == nil {
				all = map[string]*jsonschema.Schema{}
			}
			all[name] = sub
		}
	}
	return all
}

// size bounds the number of members; -1 is no upper bound.
func (k known) size() (least, most int) {
	least, most = len(k.required()), -1
	for _, f := range k.facts {
		least = max(least, f.MinProperties)
		most = tighter(most, f.MaxProperties)
		if extra, ok := f.AdditionalProperties.(bool); ok && !extra && len(f.PatternProperties) == 0 {
			most = tighter(most, len(f.Properties))
		}
	}
	return least, most
}

// withDependents adds the schemas that members which are there demand.
func (k known) withDependents() known {
	for range maxNesting {
		n := len(k.facts)
		required := k.required()
		for _, f := range k.facts {
			for name, s := range dependentSchemas(f) {
				if required[name] {
					k = k.with(s)
				}
			}
		}
		if len(k.facts) == n {
			break
		}
	}
	return k
}

func (p *prover) followsObject(k known, goal *jsonschema.Schema, at string) []Loss {
	k = k.withDependents()
	var losses []Loss
	least, most := k.size()
	if goal.MinProperties > least {
		losses = append(losses, lossAt(at, goal, "minProperties", fmt.Sprintf("may have fewer than %d members", goal.MinProperties))...)
	}
	if goal.MaxProperties >= 0 && (most < 0 || most > goal.MaxProperties) {
		losses = append(losses, lossAt(at, goal, "maxProperties", fmt.Sprintf("may have more than %d members", goal.MaxProperties))...)
	}
	required := k.required()
	for _, name := range goal.Required {
		if !required[name] {
			losses = append(losses, lossAt(memberAt(at, name), goal, "required", "may be missing")...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(goal.Properties)) {
		losses = append(losses, p.proveMember(k, name, goal.Properties[name], at)...)
	}
	for re, sub := range goal.PatternProperties {
		losses = append(losses, p.followsPattern(k, re, sub, at)...)
	}
	switch extra := goal.AdditionalProperties.(type) {
	case bool:
		if !extra {
			losses = append(losses, p.followsOthers(k, goal, onlyOwn(goal), falseSchema, at)...)
		}
	case *jsonschema.Schema:
		losses = append(losses, p.followsOthers(k, goal, onlyOwn(goal), extra, at)...)
	}
	if goal.UnevaluatedProperties != nil {
		losses = append(losses, p.followsOthers(k, goal, surelySeen(goal), goal.UnevaluatedProperties, at)...)
	}
	return append(losses, p.followsNames(k, goal, at)...)
}

func memberAt(at, name string) string {
	return at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// below runs a proof about a part of the value.
func (p *prover) below(prove func() []Loss) []Loss {
	p.depth++
	defer func() { p.depth-- }()
	return prove()
}

func (p *prover) proveMember(k known, name string, goal *jsonschema.Schema, at string) []Loss {
	facts, absent := k.memberOf(name)
	if absent {
		return nil
	}
	return p.below(func() []Loss { return p.prove(newKnown(facts...), goal, memberAt(at, name)) })
}

// proveOthers proves goal for members that no fact names.
func (p *prover) proveOthers(k known, pattern string, goal *jsonschema.Schema, at string) []Loss {
	facts, absent := k.otherMember(pattern)
	if absent {
		return nil
	}
	return p.below(func() []Loss { return p.prove(newKnown(facts...), goal, at+"/*") })
}

func (p *prover) followsPattern(k known, re *regexp.Regexp, goal *jsonschema.Schema, at string) []Loss {
	var losses []Loss
	for _, name := range k.names() {
		if re.MatchString(name) {
			losses = append(losses, p.proveMember(k, name, goal, at)...)
		}
	}
	return append(losses, p.proveOthers(k, re.String(), goal, at)...)
}

func onlyOwn(s *jsonschema.Schema) seen {
	own := seen{names: map[string]bool{}}
	for name := range s.Properties {
		own.names[name] = true
	}
	own.patterns = slices.Collect(maps.Keys(s.PatternProperties))
	return own
}

// surelySeen are the members that s looks at whatever the document: not those of alternatives.
func surelySeen(s *jsonschema.Schema) seen {
	all := onlyOwn(s)
	for _, f := range newKnown(s).facts[1:] {
		more := onlyOwn(f)
		maps.Copy(all.names, more.names)
		all.patterns = append(all.patterns, more.patterns...)
		all.all = all.all || f.AdditionalProperties != nil || f.UnevaluatedProperties != nil
	}
	all.all = all.all || s.AdditionalProperties != nil
	return all
}

// followsOthers proves goal for all members that are not among those seen.
func (p *prover) followsOthers(k known, schema *jsonschema.Schema, exempt seen, goal *jsonschema.Schema, at string) []Loss {
	if exempt.all {
		return nil
	}
	if goal == falseSchema {
		goal = closedAt(schema, "additionalProperties")
	}
	var losses []Loss
	for _, name := range k.names() {
		if !exempt.has(name) {
			losses = append(losses, p.proveMember(k, name, goal, at)...)
		}
	}
	for _, pattern := range k.patterns() {
		if !slices.ContainsFunc(exempt.patterns, func(re *regexp.Regexp) bool { return re.String() == pattern }) {
			losses = append(losses, p.proveOthers(k, pattern, goal, at)...)
		}
	}
	return append(losses, p.proveOthers(k, "", goal, at)...)
}

// followsNames proves what goal says of names: propertyNames and what depends on members.
func (p *prover) followsNames(k known, goal *jsonschema.Schema, at string) []Loss {
	var losses []Loss
	if goal.PropertyNames != nil {
		losses = append(losses, p.followsPropertyNames(k, goal, at)...)
	}
	names := slices.Collect(maps.Keys(goal.DependentRequired))
	for name, d := range goal.Dependencies {
		if _, ok := d.([]string); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if _, absent := k.memberOf(name); absent {
			continue
		}
		required := k.having(name).required()
		for _, other := range dependents(goal, name) {
			if !required[other] {
				losses = append(losses, lossAt(memberAt(at, other), goal, "dependentRequired", "may be missing while "+name+" is there")...)
			}
		}
	}
	subs := dependentSchemas(goal)
	for _, name := range slices.Sorted(maps.Keys(subs)) {
		if _, absent := k.memberOf(name); !absent {
			losses = append(losses, p.prove(k.having(name).withDependents(), subs[name], at)...)
		}
	}
	return losses
}

func (p *prover) followsPropertyNames(k known, goal *jsonschema.Schema, at string) []Loss {
	var facts []*jsonschema.Schema
	for _, f := range k.facts {
		if f.PropertyNames != nil {
			facts = append(facts, f.PropertyNames)
		}
	}
	losses := p.below(func() []Loss { return p.prove(newKnown(facts...).as(stringKind), goal.PropertyNames, at+"/*") })
	if len(losses) == 0 {
		return nil
	}
	closed := len(k.patterns()) == 0
	if _, absent := k.otherMember(""); !absent || !closed {
		return losses
	}
	losses = nil
	for _, name := range k.names() {
		if _, absent := k.memberOf(name); absent {
			continue
		}
		if valid, ok := judge(goal.PropertyNames, name); !valid || !ok {
			losses = append(losses, lossAt(memberAt(at, name), goal, "propertyNames", "may be there")...)
		}
	}
	return losses
}
