package schemas

import (
	"math/big"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// bound is a limit of numbers; a nil value is none.
type bound struct {
	value *big.Rat
	open  bool // the value itself is excluded
}

// whole says whether a number has no fraction.
func (k known) whole() bool {
	return slices.ContainsFunc(k.facts, func(f *jsonschema.Schema) bool {
		return wholeOnly(f) || f.MultipleOf != nil && f.MultipleOf.IsInt()
	})
}

// lower is the highest lower bound.
func (k known) lower() bound {
	var b bound
	for _, f := range k.facts {
		b = higher(b, bound{f.Minimum, false})
		b = higher(b, bound{f.ExclusiveMinimum, true})
	}
	if b.value != nil && k.whole() {
		n := new(big.Int).Div(b.value.Num(), b.value.Denom()) // rounds down
		if b.open || !b.value.IsInt() {
			n.Add(n, big.NewInt(1))
		}
		b = bound{new(big.Rat).SetInt(n), false}
	}
	return b
}

func higher(a, b bound) bound {
	if a.value == nil {
		return b
	}
	if b.value == nil {
		return a
	}
	if c := a.value.Cmp(b.value); c > 0 || c == 0 && a.open {
		return a
	}
	return b
}

// upper is the lowest upper bound.
func (k known) upper() bound {
	mirrored := known{}
	for _, f := range k.facts {
		mirrored.facts = append(mirrored.facts, mirror(f))
	}
	b := mirrored.lower()
	if b.value != nil {
		b.value = new(big.Rat).Neg(b.value)
	}
	return b
}

// mirror negates the numbers of a schema.
func mirror(s *jsonschema.Schema) *jsonschema.Schema {
	negative := func(r *big.Rat) *big.Rat {
		if r == nil {
			return nil
		}
		return new(big.Rat).Neg(r)
	}
	return &jsonschema.Schema{
		Types: s.Types, MultipleOf: s.MultipleOf,
		Minimum: negative(s.Maximum), ExclusiveMinimum: negative(s.ExclusiveMaximum),
	}
}

func followsNumber(k known, goal *jsonschema.Schema, at string) []Loss {
	var losses []Loss
	low, high := k.lower(), k.upper()
	if goal.Minimum != nil && (low.value == nil || low.value.Cmp(goal.Minimum) < 0) {
		losses = append(losses, lossAt(at, goal, "minimum", "may be less than "+goal.Minimum.RatString())...)
	}
	if m := goal.ExclusiveMinimum; m != nil && (low.value == nil || low.value.Cmp(m) < 0 || low.value.Cmp(m) == 0 && !low.open) {
		losses = append(losses, lossAt(at, goal, "exclusiveMinimum", "may be "+m.RatString()+" or less")...)
	}
	if goal.Maximum != nil && (high.value == nil || high.value.Cmp(goal.Maximum) > 0) {
		losses = append(losses, lossAt(at, goal, "maximum", "may be more than "+goal.Maximum.RatString())...)
	}
	if m := goal.ExclusiveMaximum; m != nil && (high.value == nil || high.value.Cmp(m) > 0 || high.value.Cmp(m) == 0 && !high.open) {
		losses = append(losses, lossAt(at, goal, "exclusiveMaximum", "may be "+m.RatString()+" or more")...)
	}
	if goal.MultipleOf != nil && !k.multipleOf(goal.MultipleOf) {
		losses = append(losses, lossAt(at, goal, "multipleOf", "may be no multiple of "+goal.MultipleOf.RatString())...)
	}
	return losses
}

func (k known) multipleOf(m *big.Rat) bool {
	if new(big.Rat).Inv(m).IsInt() && k.whole() {
		return true
	}
	return slices.ContainsFunc(k.facts, func(f *jsonschema.Schema) bool {
		return f.MultipleOf != nil && new(big.Rat).Quo(f.MultipleOf, m).IsInt()
	})
}
