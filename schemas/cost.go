package schemas

import (
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// maxCost bounds how many schemas are applied to the parts of one document, some seconds at the very most. Schemas that refer to themselves from several
// branches double their work with every level of a document.
const maxCost = 1_000_000

var errCostly = errors.New("it would take too long to validate: the schema's alternatives multiply with every level of the document")

// cost counts what the library would do for a document, in less time than it takes to do it.
type cost struct{ total int }

// add counts value under schemas, each applied as often as its number says.
func (c *cost) add(v any, schemas map[*jsonschema.Schema]int) error {
	all := map[*jsonschema.Schema]int{}
	for s, times := range schemas {
		c.expand(all, s, times)
	}
	if c.total > maxCost {
		return errCostly
	}
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if err := c.addPart(member, all, func(s *jsonschema.Schema) []*jsonschema.Schema { return memberSchemas(s, name) }); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := c.addPart(item, all, func(s *jsonschema.Schema) []*jsonschema.Schema { return itemSchemas(s, i) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// expand adds s and what it applies to the same value.
func (c *cost) expand(all map[*jsonschema.Schema]int, s *jsonschema.Schema, times int) {
	if c.total > maxCost {
		return
	}
	c.total += times * (1 + len(s.Enum)/10)
	all[s] += times
	for _, sub := range appliedInPlace(s) {
		c.expand(all, sub, times)
	}
}

func (c *cost) addPart(v any, all map[*jsonschema.Schema]int, of func(*jsonschema.Schema) []*jsonschema.Schema) error {
	part := map[*jsonschema.Schema]int{}
	for s, times := range all {
		for _, sub := range of(s) {
			part[sub] += times
		}
	}
	if len(part) == 0 {
		return nil
	}
	return c.add(v, part)
}

func memberSchemas(s *jsonschema.Schema, name string) []*jsonschema.Schema {
	var all []*jsonschema.Schema
	if sub := s.Properties[name]; sub != nil {
		all = append(all, sub)
	}
	for re, sub := range s.PatternProperties {
		if re.MatchString(name) {
			all = append(all, sub)
		}
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok && all == nil {
		all = append(all, sub)
	}
	if s.UnevaluatedProperties != nil {
		all = append(all, s.UnevaluatedProperties)
	}
	return all
}

func itemSchemas(s *jsonschema.Schema, i int) []*jsonschema.Schema {
	var all []*jsonschema.Schema
	if it := itemsOf(s); i < len(it.first) {
		all = append(all, it.first[i])
	} else if it.rest != nil {
		all = append(all, it.rest)
	}
	if s.Contains != nil {
		all = append(all, s.Contains)
	}
	if s.UnevaluatedItems != nil {
		all = append(all, s.UnevaluatedItems)
	}
	return all
}
