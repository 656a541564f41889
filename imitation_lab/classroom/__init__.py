"""What assignments import to check answers, and the course folder that nbgrader grades them in."""
