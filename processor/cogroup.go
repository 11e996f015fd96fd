package processor

import "time"

// CoGrouping says what CoGroup makes of its inputs. The fields mean what they mean in Aggregation.
type CoGrouping[A any] struct {
	Name    string
	Init    func() A
	Merge   func(A, A) A
	Windows Windows
	Grace   time.Duration
	Emit    Emit
	Keep    Medium
}

// Contribution is an input of CoGroup and how its values are added. Make one with Adding.
type Contribution[A any] struct {
	stream Stream[contributed[A]]
	broken bool
}

// contributed is a value on its way into an aggregate.
type contributed[A any] struct {
	value any
	add   func(A, any) A
}

// Adding makes an input of CoGroup: add returns the aggregate with one value of in more.
func Adding[V, A any](in Upstream[V], add func(A, V) A) Contribution[A] {
	if in == nil {
		return Contribution[A]{}
	}
	one := func(agg A, value any) A { return add(agg, value.(V)) } //nolint:forcetypeassert // it comes from in
	return Contribution[A]{broken: add == nil, stream: Map(in, func(v V) contributed[A] { return contributed[A]{value: v, add: one} })}
}

// CoGrouped is the stream of CoGroup's results: see Aggregated.
type CoGrouped[A any] struct {
	Stream[A]
	all Aggregated[contributed[A], A]
}

// Late returns the values of records that were late for every window, of all inputs: see Aggregated.Late.
func (c CoGrouped[A]) Late() Stream[any] {
	return Map(c.all.Late(), func(v contributed[A]) any { return v.value })
}

// Changes returns every result together with the one that it replaces: see Aggregated.Changes.
func (c CoGrouped[A]) Changes() Stream[Change[A]] { return c.all.Changes() }

// Table returns the table of the latest aggregate of each key: see Aggregated.Table.
func (c CoGrouped[A]) Table() Table[A] { return c.all.Table() }

// CoGroup makes one aggregate of several streams of different types: Aggregate, where each input has an Add of its own.
//
//	baskets := processor.CoGroup(processor.CoGrouping[Basket]{Name: "baskets", Init: newBasket},
//		processor.Adding(clicks, Basket.withClick), processor.Adding(orders, Basket.withOrder))
func CoGroup[A any](g CoGrouping[A], inputs ...Contribution[A]) CoGrouped[A] {
	var all Stream[contributed[A]]
	f := folding[contributed[A], A]{verb: "CoGroup", name: g.Name, windows: g.Windows, grace: g.Grace, emit: g.Emit, keep: g.Keep, broken: g.Init == nil}
	for _, in := range inputs {
		f.broken = f.broken || in.broken
		switch {
		case in.stream.n == nil:
			f.broken = true
		case all.n == nil:
			all = in.stream
		default:
			all = all.Merge(in.stream)
		}
	}
	f.add = func(agg A, has bool, c contributed[A]) A {
		if !has {
			agg = g.Init()
		}
		return c.add(agg, c.value)
	}
	if g.Merge != nil {
		f.merge = func(agg A, has bool, next A) A {
			if !has {
				agg = g.Init()
			}
			return g.Merge(agg, next)
		}
	}
	result := fold(Upstream[contributed[A]](all), f)
	return CoGrouped[A]{Stream: result.Stream, all: result}
}
