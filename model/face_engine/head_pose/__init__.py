"""Head pose networks behind one interface, `model.face_engine.interface.HeadPose`."""
