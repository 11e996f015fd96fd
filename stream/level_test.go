package stream_test

import "testing"

// Members of a higher level wait for those of lower ones to go. They have copies then, and know items that the others do not.
func TestHigherLevelsWait(t *testing.T) {
	c := newClient(t)
	a := joinLevel(t, c, 1, true, true, 12)
	eventually(t, "a has all", func() bool { return len(a.held()) == 12 })
	x := joinLevel(t, c, 2, true, true, 14)
	y := joinLevel(t, c, 2, true, true, 14)
	eventually(t, "the newer ones keep copies", func() bool { return len(x.followed())+len(y.followed()) == 12 })
	b := joinLevel(t, c, 1, true, true, 12)
	eventually(t, "a and b share", func() bool { return len(a.held()) == 6 && len(b.held()) == 6 })
	a.m.Leave(t.Context())
	eventually(t, "b has all", func() bool { return len(b.held()) == 12 })
	if len(x.held())+len(y.held()) > 0 {
		t.Fatal("a newer one has not waited")
	}
	b.m.Leave(t.Context())
	eventually(t, "the newer ones share everything", func() bool { return len(x.held()) == 7 && len(y.held()) == 7 })
}
