package schemas

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// items are the rules of a schema on the items of arrays: of the first ones by their place, and of the rest; nil is no rule.
type items struct {
	first []*jsonschema.Schema
	rest  *jsonschema.Schema
}

// itemsOf reads the keywords of both drafts.
func itemsOf(s *jsonschema.Schema) items {
	it := items{first: s.PrefixItems, rest: s.Items2020}
	switch i := s.Items.(type) {
	case *jsonschema.Schema:
		it.rest = i
	case []*jsonschema.Schema:
		it.first = i
		switch extra := s.AdditionalItems.(type) {
		case *jsonschema.Schema:
			it.rest = extra
		case bool:
			if !extra {
				it.rest = falseSchema
			}
		}
	}
	if it.rest == nil && s.UnevaluatedItems != nil && s.Contains == nil && len(appliedInPlace(s)) == 0 {
		it.rest = s.UnevaluatedItems
	}
	return it
}

// itemAt gives what is known of an item; places beyond those that have rules of their own are alike.
func (k known) itemAt(i int) (facts []*jsonschema.Schema, absent bool) {
	for _, f := range k.facts {
		it := itemsOf(f)
		switch {
		case i < len(it.first):
			facts = append(facts, it.first[i])
		case it.rest != nil:
			facts = append(facts, it.rest)
		}
		if f.MaxItems >= 0 && i >= f.MaxItems {
			absent = true
		}
	}
	return facts, absent || slices.ContainsFunc(facts, isFalse)
}

// places is how many places have rules of their own.
func (k known) places() int {
	n := 0
	for _, f := range k.facts {
		n = max(n, len(itemsOf(f).first))
	}
	return n
}

// count bounds the number of items; -1 is no upper bound.
func (k known) count() (least, most int) {
	most = -1
	for _, f := range k.facts {
		least = max(least, f.MinItems)
		most = tighter(most, f.MaxItems)
	}
	for i := range k.places() + 1 {
		if _, absent := k.itemAt(i); absent {
			most = tighter(most, i)
		}
	}
	return least, most
}

func (p *prover) followsArray(k known, goal *jsonschema.Schema, at string) []Loss {
	var losses []Loss
	least, most := k.count()
	if goal.MinItems > least {
		losses = append(losses, lossAt(at, goal, "minItems", fmt.Sprintf("may have fewer than %d items", goal.MinItems))...)
	}
	if goal.MaxItems >= 0 && (most < 0 || most > goal.MaxItems) {
		losses = append(losses, lossAt(at, goal, "maxItems", fmt.Sprintf("may have more than %d items", goal.MaxItems))...)
	}
	if goal.UniqueItems && (most < 0 || most > 1) && !slices.ContainsFunc(k.facts, func(f *jsonschema.Schema) bool { return f.UniqueItems }) {
		losses = append(losses, lossAt(at, goal, "uniqueItems", "may have the same item twice")...)
	}
	losses = append(losses, p.followsItems(k, goal, at)...)
	if goal.Contains != nil && !p.followsContains(k, goal) {
		losses = append(losses, undecided(at, goal, "contains", "how many items fit its schema")...)
	}
	return losses
}

func (p *prover) followsItems(k known, goal *jsonschema.Schema, at string) []Loss {
	it := itemsOf(goal)
	if it.rest == nil {
		it.rest = goal.UnevaluatedItems // of all items but the first: what else may have looked at them is left out
	}
	var losses []Loss
	places := max(k.places(), len(it.first))
	for i := range places + 1 {
		sub := it.rest
		if i < len(it.first) {
			sub = it.first[i]
		}
		facts, absent := k.itemAt(i)
		if absent {
			break // and none behind it
		}
		if sub == nil {
			continue
		}
		if sub == falseSchema {
			sub = closedAt(goal, "additionalItems")
		}
		place := at + "/*"
		if i < places {
			place = at + "/" + strconv.Itoa(i)
		}
		losses = append(losses, p.below(func() []Loss { return p.prove(newKnown(facts...), sub, place) })...)
	}
	return losses
}

func (p *prover) followsContains(k known, goal *jsonschema.Schema) bool {
	if goal.MinContains <= 0 && goal.MaxContains < 0 {
		return true
	}
	for _, f := range k.facts {
		if f.Contains != nil && f.MinContains >= goal.MinContains && tighter(f.MaxContains, goal.MaxContains) == f.MaxContains && p.equal(f.Contains, goal.Contains) {
			return true
		}
	}
	least, most := k.count()
	if least < goal.MinContains || goal.MaxContains >= 0 && (most < 0 || most > goal.MaxContains) {
		return false
	}
	for i := range k.places() + 1 {
		facts, absent := k.itemAt(i)
		if !absent && len(p.below(func() []Loss { return p.prove(newKnown(facts...), goal.Contains, "") })) > 0 {
			return false
		}
	}
	return true
}
