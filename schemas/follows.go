package schemas

import (
	stdjson "encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

func textOf(v any) string {
	data, err := stdjson.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// follows gives the rules of goal that do not follow from what is known of a value, whose kind is known.
func (p *prover) follows(k known, goal *jsonschema.Schema, at string) []Loss {
	if goal.RecursiveRef != nil || goal.DynamicRef != nil {
		return undecided(at, goal, "$dynamicRef", "where a $dynamicRef leads depends on the document")
	}
	if l := p.followsType(k, goal, at); len(l) > 0 {
		return l // whatever else the rules say is about another type
	}
	var losses []Loss
	if goal.Ref != nil {
		losses = append(losses, p.prove(k, goal.Ref, at)...)
	}
	for _, part := range goal.AllOf {
		losses = append(losses, p.prove(k, part, at)...)
	}
	losses = append(losses, p.followsChoice(k, goal, at)...)
	switch k.kind {
	case numberKind:
		losses = append(losses, followsNumber(k, goal, at)...)
	case stringKind:
		losses = append(losses, followsString(k, goal, at)...)
	case arrayKind:
		losses = append(losses, p.followsArray(k, goal, at)...)
	case objectKind:
		losses = append(losses, p.followsObject(k, goal, at)...)
	}
	return losses
}

func (p *prover) followsType(k known, goal *jsonschema.Schema, at string) []Loss {
	if !takesKind(goal, k.kind) {
		return lossAt(at, goal, "type", "may be "+k.kind.String())
	}
	if k.kind == numberKind && wholeOnly(goal) && !k.whole() {
		return lossAt(at, goal, "type", "may be a number with a fraction")
	}
	// Values that are few have been tried one by one.
	if goal.Constant != nil {
		return lossAt(at, goal, "const", "may be something other than "+textOf(goal.Constant[0]))
	}
	if goal.Enum != nil {
		return lossAt(at, goal, "enum", "may be something other than the values listed")
	}
	return nil
}

func (p *prover) followsChoice(k known, goal *jsonschema.Schema, at string) []Loss {
	var losses []Loss
	if goal.AnyOf != nil && !p.followsAnyOf(k, goal) {
		losses = append(losses, p.noneOf(k, goal, at)...)
	}
	if goal.OneOf != nil && !p.followsOneOf(k, goal) {
		losses = append(losses, undecided(at, goal, "oneOf", k.kind.String()+" may fit none of the schemas, or several")...)
	}
	if goal.Not != nil && !p.followsNot(k, goal.Not) {
		losses = append(losses, undecided(at, goal, "not", k.kind.String()+" may be what is excluded")...)
	}
	if goal.If != nil {
		losses = append(losses, p.followsIf(k, goal, at)...)
	}
	return losses
}

func (p *prover) followsAnyOf(k known, goal *jsonschema.Schema) bool {
	for _, f := range k.facts {
		if p.equalAll(f.AnyOf, goal.AnyOf) {
			return true
		}
	}
	return slices.ContainsFunc(goal.AnyOf, func(branch *jsonschema.Schema) bool { return len(p.prove(k, branch, "")) == 0 })
}

// noneOf says why no branch follows: what is missing in the only one of this type, if there is but one.
func (p *prover) noneOf(k known, goal *jsonschema.Schema, at string) []Loss {
	var fit []*jsonschema.Schema
	for _, branch := range goal.AnyOf {
		if newKnown(branch).allows(k.kind) {
			fit = append(fit, branch)
		}
	}
	switch len(fit) {
	case 0:
		return lossAt(at, goal, "anyOf", "may be "+k.kind.String())
	case 1:
		return p.prove(k, fit[0], at)
	}
	return undecided(at, goal, "anyOf", k.kind.String()+" may fit none of the schemas")
}

func (p *prover) followsOneOf(k known, goal *jsonschema.Schema) bool {
	for _, f := range k.facts {
		if p.equalAll(f.OneOf, goal.OneOf) {
			return true
		}
	}
	for i, branch := range goal.OneOf {
		if len(p.prove(k, branch, "")) > 0 {
			continue
		}
		for j, other := range goal.OneOf {
			if i != j && !p.impossible(k.with(other)) {
				return false
			}
		}
		return true
	}
	return false
}

func (p *prover) followsNot(k known, not *jsonschema.Schema) bool {
	for _, f := range k.facts {
		if f.Not != nil && len(p.prove(newKnown(not).as(k.kind), f.Not, "")) == 0 {
			return true
		}
	}
	return p.impossible(k.with(not))
}

func (p *prover) followsIf(k known, goal *jsonschema.Schema, at string) []Loss {
	for _, f := range k.facts {
		if p.equal(f.If, goal.If) && p.equal(f.Then, goal.Then) && p.equal(f.Else, goal.Else) {
			return nil
		}
	}
	var losses []Loss
	if goal.Then != nil {
		losses = append(losses, p.prove(k.with(goal.If), goal.Then, at)...)
	}
	if goal.Else != nil && len(p.prove(k, goal.If, at)) > 0 {
		losses = append(losses, p.prove(k, goal.Else, at)...)
	}
	return losses
}

// followsString knows that pattern and format follow from themselves only.
func followsString(k known, goal *jsonschema.Schema, at string) []Loss {
	shortest, longest := k.length()
	var losses []Loss
	if goal.MinLength > shortest {
		losses = append(losses, lossAt(at, goal, "minLength", fmt.Sprintf("may have fewer than %d characters", goal.MinLength))...)
	}
	if goal.MaxLength >= 0 && (longest < 0 || longest > goal.MaxLength) {
		losses = append(losses, lossAt(at, goal, "maxLength", fmt.Sprintf("may have more than %d characters", goal.MaxLength))...)
	}
	if goal.Pattern != nil && goal.Pattern.String() != "" && !slices.ContainsFunc(k.facts, func(f *jsonschema.Schema) bool {
		return f.Pattern != nil && f.Pattern.String() == goal.Pattern.String()
	}) {
		losses = append(losses, patternLoss(k, goal, at)...)
	}
	if goal.Format != "" && !slices.ContainsFunc(k.facts, func(f *jsonschema.Schema) bool { return f.Format == goal.Format }) {
		losses = append(losses, lossAt(at, goal, "format", "may be no "+goal.Format)...)
	}
	return losses
}

// patternLoss says of a pattern that it is new, or that it cannot be compared with others.
func patternLoss(k known, goal *jsonschema.Schema, at string) []Loss {
	var others []string
	for _, f := range k.facts {
		if f.Pattern != nil {
			others = append(others, f.Pattern.String())
		}
	}
	if others == nil {
		return lossAt(at, goal, "pattern", "may not match "+goal.Pattern.String())
	}
	return undecided(at, goal, "pattern", fmt.Sprintf("whether all that matches %s matches %s", strings.Join(others, " and "), goal.Pattern))
}

// length bounds the characters of a string; -1 is no upper bound.
func (k known) length() (shortest, longest int) {
	longest = -1
	for _, f := range k.facts {
		shortest = max(shortest, f.MinLength)
		longest = tighter(longest, f.MaxLength)
	}
	return shortest, longest
}

// tighter gives the smaller of two upper bounds, where -1 is none.
func tighter(a, b int) int {
	if a < 0 || b < 0 {
		return max(a, b)
	}
	return min(a, b)
}
