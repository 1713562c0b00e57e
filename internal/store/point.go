package store

// Point is a moment at which the death of the process matters to the file: right
// before or right after one step that changes it.
type Point struct {
	// Step is the name of a transaction, or of another step.
	Step string
	// Done says that the step is in the file, though nobody has been told; else it
	// is lost.
	Done bool
}

// pass is called at a point. An error is the death of the process: the writer stops.
func (s *Store) pass(p Point) error {
	if s.die == nil {
		return nil
	}
	err := s.Err()
	if err == nil {
		err = s.die(p)
	}
	if err != nil {
		s.Stop(err)
	}
	return err
}

// around passes the two points of a step that is no Update.
func (s *Store) around(step string, fn func() error) error {
	if err := s.pass(Point{step, false}); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	return s.pass(Point{step, true})
}
