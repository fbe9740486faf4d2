-- Run at each start by the server itself, so that it must be true however often it is run.
CREATE DATABASE IF NOT EXISTS emotion_detector;
CREATE TABLE IF NOT EXISTS emotion_detector.detection_results (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, userId BINARY(16) NOT NULL, sessionId BINARY(16) NOT NULL, timestamp DATETIME(3) NOT NULL, emotion VARCHAR(16) NOT NULL, stressScore DOUBLE NOT NULL, confidence DOUBLE NOT NULL, KEY by_user (userId, timestamp), KEY by_session (sessionId), KEY by_time (timestamp), KEY by_emotion (emotion), KEY by_stress (stressScore));
CREATE USER IF NOT EXISTS app@localhost IDENTIFIED VIA unix_socket;
