"""Face engines: detection, landmarks, head pose and identity behind one interface (`interface.FaceEngine`)."""
